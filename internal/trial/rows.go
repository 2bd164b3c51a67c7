package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
)

// WrongRows counts the entities whose row differs from the home, in state,
// attributes or times, and the rows that the home does not have.
func (t *Trial) WrongRows(ctx context.Context) (int, error) {
	conn, err := pgx.Connect(ctx, t.DB)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := conn.QueryRow(ctx, `select home_id from home`).Scan(&t.HomeID); err != nil {
		return 0, err
	}
	rows, err := conn.Query(ctx, `
		select entity_id, state, attributes, last_changed, last_updated
		from entity_state
		where home_id = $1`, t.HomeID)
	if err != nil {
		return 0, err
	}
	type row struct {
		ID, State        string
		Attributes       []byte
		Changed, Updated time.Time
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		return 0, err
	}
	have := make(map[string]row, len(all))
	for _, r := range all {
		have[r.ID] = r
	}
	wrong := 0
	for _, want := range t.Home.States() {
		r, ok := have[want.EntityID]
		delete(have, want.EntityID)
		if !ok || r.State != want.State || !r.Updated.Equal(want.LastUpdated) || !r.Changed.Equal(want.LastChanged) ||
			!sameJSON(r.Attributes, want.Attributes) {
			wrong++
		}
	}
	return wrong + len(have), nil
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// AwaitEqual returns when every row equals the home, which must stand still.
func (t *Trial) AwaitEqual(ctx context.Context) error {
	return await(ctx, look, func(ctx context.Context) error {
		wrong, err := t.WrongRows(ctx)
		if err == nil && wrong == 0 {
			return nil
		}
		return fmt.Errorf("%d rows differ from the home (%v)", wrong, err)
	})
}

// own is a line about a conflict of Concord's, with or without a correlation id.
var own = regexp.MustCompile(`app=concord(/\S*)? sqlstate=(40001|40P01) ERROR`)

// ServerLog counts, in the log of the embedded server, Concord's own 40001
// and 40P01, and everybody's 25P02.
func (t *Trial) ServerLog() (own40001, all25P02 int) {
	files, _ := filepath.Glob(filepath.Join(t.Dir, "postgres", "data", "log", "*.log")) // the pattern is valid
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		own40001 += len(own.FindAll(b, -1))
		all25P02 += bytes.Count(b, []byte("sqlstate=25P02"))
	}
	return own40001, all25P02
}

// ServerPID is the process number of the embedded PostgreSQL.
func (t *Trial) ServerPID() (int, error) {
	b, err := os.ReadFile(filepath.Join(t.Dir, "postgres", "data", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	var pid int
	_, err = fmt.Sscan(string(b), &pid)
	return pid, err
}
