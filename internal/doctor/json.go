package doctor

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/concord-home/concord/internal/pglog"
)

// jsonRoot, jsonCascade and jsonIncident are a contract with the programs that read --json.
type jsonRoot struct {
	File  string `json:"file"`
	Line  int64  `json:"line"`
	State string `json:"sqlstate"`
}

type jsonCascade struct {
	File string    `json:"file"`
	Line int64     `json:"line"`
	Root *jsonRoot `json:"root"`
}

type jsonIncident struct {
	State         string  `json:"sqlstate"`
	Kind          string  `json:"kind"`
	Table         *string `json:"table"`
	ConflictTable *string `json:"conflict_table"`
	Application   *string `json:"application"`
	Endpoint      *string `json:"endpoint"`
	User          *string `json:"user"`
	Database      *string `json:"database"`
	First         *string `json:"first"`
	Last          *string `json:"last"`
	Count         int64   `json:"count"`
	Cascades      int64   `json:"cascades"`
	RetriedOK     int64   `json:"retried_ok"`
	Lost          int64   `json:"lost"`
	Message       string  `json:"message"`
	Statement     string  `json:"statement"`
	Example       string  `json:"example"`
	Row           *string `json:"row"`
	Rival         string  `json:"rival"`
}

// jsonAddon is what the lines of the Home Assistant add-on tell.
type jsonAddon struct {
	StateChanges int64   `json:"state_changes"`
	First        *string `json:"first"`
	Last         *string `json:"last"`
	Batches      int64   `json:"batches"`
	Created      int64   `json:"created"`
	Updated      int64   `json:"updated"`
	Errors       int64   `json:"errors"`
	LargestBatch int64   `json:"largest_batch"`
	Retries      int64   `json:"retries"`
	GaveUp       int64   `json:"gave_up"`
}

// JSONWriter writes one object; its cascades go out while the logs are still being read.
type JSONWriter struct {
	out   *bufio.Writer
	first bool
}

// NewJSONWriter starts the object.
func NewJSONWriter(w io.Writer) *JSONWriter {
	out := bufio.NewWriterSize(w, 64<<10)
	_, _ = out.WriteString("{\"cascades\":[")
	return &JSONWriter{out: out, first: true}
}

// Cascade writes one cascade.
func (j *JSONWriter) Cascade(c pglog.Cascade) error {
	line := jsonCascade{File: c.File, Line: c.Line}
	if c.Root != nil {
		line.Root = &jsonRoot{File: c.Root.File, Line: c.Root.Line, State: c.Root.SQLState}
	}
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("write cascade: %w", err)
	}
	if !j.first {
		_ = j.out.WriteByte(',')
	}
	j.first = false
	_ = j.out.WriteByte('\n')
	_, err = j.out.Write(data)
	return err
}

// Close writes incidents, checks and totals, and ends the object.
func (j *JSONWriter) Close(r *Report) error {
	_, _ = j.out.WriteString("],\n\"incidents\":")
	incidents := make([]jsonIncident, 0)
	if r.Logs != nil {
		for _, in := range r.Logs.Incidents {
			if !in.Orphan {
				incidents = append(incidents, incidentJSON(&in))
			}
		}
	}
	if err := j.value(incidents); err != nil {
		return err
	}
	if r.Database != nil {
		_, _ = j.out.WriteString(",\n\"database\":")
		if err := j.value(r.Database); err != nil {
			return err
		}
	}
	totals := pglog.Totals{RootsByState: map[string]int64{}, ConflictRootsByName: map[string]int64{}}
	if r.Logs != nil {
		totals = r.Logs.Totals
		if r.Logs.HasOdoo {
			_, _ = j.out.WriteString(",\n\"addon\":")
			if err := j.value(addonJSON(&r.Logs.Addon)); err != nil {
				return err
			}
		}
	}
	_, _ = j.out.WriteString(",\n\"totals\":")
	if err := j.value(totals); err != nil {
		return err
	}
	_, _ = j.out.WriteString("}\n")
	return j.out.Flush()
}

func (j *JSONWriter) value(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	_, err = j.out.Write(data)
	return err
}

func incidentJSON(in *pglog.Incident) jsonIncident {
	return jsonIncident{
		State: in.SQLState, Kind: string(in.Kind), Table: optional(in.Table), ConflictTable: optional(in.ConflictTable),
		Application: optional(in.Application), Endpoint: optional(in.Endpoint), User: optional(in.User), Database: optional(in.Database),
		First: stamp(in.First), Last: stamp(in.Last), Count: in.Count, Cascades: in.Cascades, RetriedOK: in.RetriedOK,
		Lost: in.Lost, Message: in.Message, Statement: in.Statement, Rival: in.Rival,
		Example: in.Example, Row: optional(in.Row),
	}
}

func addonJSON(a *pglog.Addon) jsonAddon {
	return jsonAddon{
		StateChanges: a.StateChanges, First: stampOf(a.First), Last: stampOf(a.Last), Batches: a.Batches,
		Created: a.Created, Updated: a.Updated, Errors: a.Errors, LargestBatch: a.LargestBatch, Retries: a.Retries, GaveUp: a.GaveUp,
	}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func stampOf(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return stamp(t.UnixMicro())
}

func stamp(micros int64) *string {
	if micros == 0 {
		return nil
	}
	s := pglog.TimeOf(micros).Format(time.RFC3339Nano)
	return &s
}
