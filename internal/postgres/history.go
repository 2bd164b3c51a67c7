package postgres

import (
	"hash/maphash"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/concord-home/concord"
)

// Where a history row came from.
const (
	sourceLive     = 0
	sourceSnapshot = 1
	sourceBackfill = 2
)

// historyRows are changes as the arrays that unnest wants. Index i of every
// array is the same change.
type historyRows struct {
	ids        []string
	keys       []int64
	updated    []time.Time
	changed    []time.Time
	values     []pgtype.Float8
	attributes []int64
	clocks     []int32
	states     []string
	contexts   []string
	parents    []string
	users      []string
	raw        [][]byte // the attributes themselves
	hashes     []uint64 // of raw
	late       []bool   // were held back and come after what is newer: they tell nothing of the clock
	names      []naming // what of the records changes whose names are whose
}

// part returns the rows [from, to), sharing memory.
func (r *historyRows) part(from, to int) *historyRows {
	return &historyRows{
		ids: r.ids[from:to], keys: r.keys[from:to], updated: r.updated[from:to], changed: r.changed[from:to],
		values: r.values[from:to], attributes: r.attributes[from:to], clocks: r.clocks[from:to], states: r.states[from:to],
		contexts: r.contexts[from:to], parents: r.parents[from:to], users: r.users[from:to], raw: r.raw[from:to], hashes: r.hashes[from:to],
		late: r.late[from:to],
	}
}

// pastHome is what is remembered of one home between transactions: numbers of
// entities and of attributes that are known to be in the database. Forgetting it
// costs time only.
type pastHome struct {
	seed maphash.Seed
	days int // that raw history is kept

	mu     sync.Mutex
	turn   int // grows when what is being read of the database may be old by now
	loaded bool
	homeNumbers
	known  map[uint64]attributesNumber // by a hash of the raw text
	newest map[int64]int64             // last_updated in µs of an entity's newest row, by its key
	filter deadband
	heard  heardUntil // of the last commit; without there, the database knows
}

// homeNumbers are the numbers of a home's entities.
type homeNumbers struct {
	keys   map[string]entityNumber // by the name
	owners map[int64]bool          // numbers in use, also by entities that are gone or have another name
	stored map[int64]bool          // of them, those in history_entity
}

func newHomeNumbers() homeNumbers {
	return homeNumbers{keys: make(map[string]entityNumber), owners: make(map[int64]bool), stored: make(map[int64]bool)}
}

// entityNumber is what a name stands for: the key of the rows in history
// (entity_key), which an entity keeps when it is renamed.
type entityNumber struct {
	key        int64
	registered bool // the number of an entity that has a registry entry
	// open tells that the name's former entity was removed, and that nobody said yet
	// whether it has another name now; vacant, that no state came under it since.
	open, vacant bool

	after  *concord.Position // where in the stream the name began to stand for the number; nil when that is long ago
	before *entityNumber     // that the name had until then, where it is known
}

// maxKnownAttributes bounds the memory: 24 bytes each.
const maxKnownAttributes = 200_000

func newPastHome(days int) *pastHome {
	return &pastHome{
		seed: maphash.MakeSeed(), days: days, homeNumbers: newHomeNumbers(), known: make(map[uint64]attributesNumber), newest: make(map[int64]int64),
	}
}

func (db *DB) past(home int64) *pastHome {
	db.pastMu.Lock()
	defer db.pastMu.Unlock()
	p := db.pasts[home]
	if p == nil {
		p = newPastHome(db.days.keep)
		db.pasts[home] = p
	}
	return p
}

// historyOf turns changes into rows. Removals and new names have none: the home
// gives no time for them. index tells the place of a change in the rows, -1 for
// what has none.
func (p *pastHome) historyOf(records []concord.Record) (rows *historyRows, index []int) {
	n := len(records)
	rows = &historyRows{
		ids: make([]string, 0, n), keys: make([]int64, 0, n), updated: make([]time.Time, 0, n), changed: make([]time.Time, 0, n),
		values: make([]pgtype.Float8, 0, n), attributes: make([]int64, 0, n), clocks: make([]int32, 0, n), states: make([]string, 0, n),
		contexts: make([]string, 0, n), parents: make([]string, 0, n), users: make([]string, 0, n), raw: make([][]byte, 0, n),
		hashes: make([]uint64, 0, n), late: make([]bool, 0, n),
	}
	index = make([]int, n)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range records {
		if r := &records[i]; r.HasState() {
			index[i] = len(rows.ids)
			rows.append(p, r.State)
			continue
		}
		index[i] = -1
		if n, follows := p.follow(&records[i]); follows {
			n.record = i
			rows.names = append(rows.names, n)
		}
	}
	return rows, index
}

// append adds a change. p is locked.
func (r *historyRows) append(p *pastHome, s *concord.State) {
	r.ids = append(r.ids, s.EntityID)
	r.keys = append(r.keys, p.keyAt(s))
	r.updated = append(r.updated, s.LastUpdated)
	r.changed = append(r.changed, s.LastChanged)
	v, ok := Number(s.State)
	r.values = append(r.values, pgtype.Float8{Float64: v, Valid: ok})
	id, hash := p.attributesID(s.Attributes)
	r.attributes, r.hashes = append(r.attributes, id), append(r.hashes, hash)
	r.clocks = append(r.clocks, 0)
	r.states = append(r.states, s.State)
	r.contexts = append(r.contexts, s.Context.ID)
	r.parents = append(r.parents, s.Context.ParentID)
	r.users = append(r.users, s.Context.UserID)
	r.raw = append(r.raw, s.Attributes)
	r.late = append(r.late, false)
}

// appendLate adds a value that was held back. p is locked.
func (r *historyRows) appendLate(p *pastHome, s *concord.State) {
	r.append(p, s)
	r.late[len(r.late)-1] = true
}

// maxNumber is far above what anybody measures: sums of numbers up to here, times
// the seconds that they held, are numbers still.
const maxNumber = 1e300

// Number reads a state as a number. Infinities, hexadecimal, underscores and
// the like are text, and what is beyond [maxNumber].
func Number(state string) (float64, bool) {
	if state == "" || len(state) > 40 {
		return 0, false
	}
	for i := range len(state) {
		switch c := state[i]; {
		case c >= '0' && c <= '9', c == '.', c == '-', c == '+', c == 'e', c == 'E':
		default:
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(state, 64)
	return v, err == nil && math.Abs(v) <= maxNumber
}
