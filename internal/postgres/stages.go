package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/concord-home/concord"
)

var (
	floorTable = table{
		name: "floor", id: "floor_id",
		cols: []string{"name", "icon", "level", "sort"},
		typ:  []string{"text", "text", "integer", "integer"},
	}
	labelTable = table{
		name: "label", id: "label_id",
		cols: []string{"name", "icon", "color"},
		typ:  []string{"text", "text", "text"},
	}
	areaTable = table{
		name: "area", id: "area_id",
		cols: []string{"key", "floor_id", "name", "icon", "picture", "labels", "temperature_entity_id", "humidity_entity_id", "sort"},
		typ:  []string{"bigint", "text", "text", "text", "text", "text[]", "text", "text", "integer"},
	}
	deviceTable = table{
		name: "device", id: "device_id",
		cols: []string{"key", "area_id", "name", "name_by_user", "manufacturer", "model", "sw_version", "via_device_id", "disabled_by", "labels"},
		typ:  []string{"bigint", "text", "text", "text", "text", "text", "text", "text", "text", "text[]"},
	}
	entityTable = table{
		name: "entity", id: "entity_id",
		cols: []string{
			"key", "registry_id", "unique_id", "platform", "name", "original_name", "icon", "device_class",
			"category", "hidden_by", "disabled_by", "translation_key", "labels",
		},
		typ: []string{
			"bigint", "text", "text", "text", "text", "text", "text", "text",
			"text", "text", "text", "text", "text[]",
		},
	}
)

// areas brings floors, labels and areas in.
func (r *stageRun) areas(ctx context.Context) error {
	parts := r.snapshot.Registry
	floors := make([]row, len(parts.Floors))
	for i, f := range parts.Floors {
		floors[i] = row{"floor_id": f.ID, "name": f.Name, "icon": f.Icon, "level": f.Level, "sort": i}
	}
	if err := r.syncTable(ctx, floorTable, floors); err != nil {
		return err
	}
	labels := make([]row, len(parts.Labels))
	for i, l := range parts.Labels {
		labels[i] = row{"label_id": l.ID, "name": l.Name, "icon": l.Icon, "color": l.Color}
	}
	if err := r.syncTable(ctx, labelTable, labels); err != nil {
		return err
	}
	areas := make([]row, len(parts.Areas))
	for i, a := range parts.Areas {
		areas[i] = row{
			"area_id": a.ID, "key": concord.AreaKey(a.ID), "floor_id": a.FloorID, "name": a.Name, "icon": a.Icon,
			"picture": a.Picture, "labels": orEmpty(a.Labels), "temperature_entity_id": a.TemperatureEntityID,
			"humidity_entity_id": a.HumidityEntityID, "sort": i,
		}
	}
	return r.syncTable(ctx, areaTable, areas)
}

// entities brings states and registry entries in.
func (r *stageRun) entities(ctx context.Context) error {
	parts := r.snapshot.Registry
	// The key of an entry needs only the entry itself.
	registry := concord.NewRegistry(nil, nil, nil, slices.Clone(parts.Entities), nil, true)
	rows := make([]row, len(parts.Entities))
	for i := range parts.Entities {
		e := &parts.Entities[i]
		rows[i] = row{
			"entity_id": e.EntityID, "key": registry.EntityKey(e.EntityID), "registry_id": e.RegistryID, "unique_id": e.UniqueID,
			"platform": e.Platform, "name": e.Name, "original_name": e.OriginalName, "icon": e.Icon, "device_class": e.DeviceClass,
			"category": e.Category, "hidden_by": e.HiddenBy, "disabled_by": e.DisabledBy, "translation_key": e.TranslationKey,
			"labels": orEmpty(e.Labels),
		}
	}
	if err := r.syncTable(ctx, entityTable, rows); err != nil {
		return err
	}
	if err := r.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ *concord.StageCounts) error {
		return syncKeys(ctx, tx, r.snapshot.HomeID, registry, r.snapshot.RegistryAt, r.db.days.keep)
	}); err != nil {
		return err
	}
	past := r.db.past(r.snapshot.HomeID)
	past.forgetKeys()
	if err := past.load(ctx, r.db, r.snapshot.HomeID); err != nil {
		return classify(err)
	}
	r.missed = &missedWrite{home: r.snapshot.HomeID, past: past}
	return r.states(ctx)
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// states makes entity_state equal to the snapshot, except where a row already
// holds something newer than the snapshot.
func (r *stageRun) states(ctx context.Context) error {
	good, bad := r.missed.past.separate(r.snapshot.States)
	for _, b := range bad {
		if err := r.db.Quarantine(ctx, r.snapshot.HomeID, b); err != nil {
			return err
		}
	}
	r.counts.Failed += len(bad)
	for batch := range slices.Chunk(good, r.db.commit) {
		if err := r.statesBatch(ctx, batch); err != nil {
			return err
		}
	}
	ids := make([]string, len(r.snapshot.States)) // a bad record's row is kept as it was
	for i, s := range r.snapshot.States {
		ids[i] = s.State.EntityID
	}
	ids = slices.DeleteFunc(ids, badText)
	remember := func() {}
	err := r.transact(ctx, func(ctx context.Context, tx pgx.Tx, c *concord.StageCounts) error {
		rows, err := tx.Query(ctx, `
			delete from entity_state
			where home_id = $1 and entity_id <> all($2::text[]) and (epoch, seq) < ($3, $4)
			returning entity_id, last_updated`,
			r.snapshot.HomeID, ids, r.snapshot.Position.Epoch, r.snapshot.Position.Seq)
		if err != nil {
			return err
		}
		gone, err := pgx.CollectRows(rows, pgx.RowToStructByPos[goneEntity])
		if err != nil {
			return err
		}
		c.Deleted = len(gone)
		if remember, err = r.missed.writeGone(ctx, tx, gone); err != nil {
			return err
		}
		return dueBackfills(ctx, tx, r.snapshot.HomeID)
	})
	if err == nil {
		remember()
	}
	return err
}

// statesBatch commits a batch, and its halves when conflicts outlive the first
// attempts, or PostgreSQL refuses a record: see [DB.WriteEvents].
func (r *stageRun) statesBatch(ctx context.Context, batch []concord.Record) error {
	remember := func() {}
	err := r.transact(ctx, func(ctx context.Context, tx pgx.Tx, c *concord.StageCounts) (err error) {
		if remember, err = r.missed.write(ctx, tx, batch); err != nil {
			return err
		}
		for chunk := range slices.Chunk(batch, r.db.chunk) {
			if err := syncStates(ctx, tx, r.snapshot.HomeID, chunk, c); err != nil {
				return err
			}
		}
		return nil
	}, attempts(len(batch))...)
	if err == nil {
		remember()
		return nil
	}
	if len(batch) > 1 && (concord.ErrorCode(err) == concord.CodeConflict || refusesData(err)) {
		half := len(batch) / 2
		if err := r.statesBatch(ctx, batch[:half]); err != nil {
			return err
		}
		return r.statesBatch(ctx, batch[half:])
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && refusesData(err) {
		r.counts.Failed++
		return r.db.Quarantine(ctx, r.snapshot.HomeID, badRecord(batch[0], pgErr.Message, pgErr.Code))
	}
	return err
}

// syncStates writes the rows that differ from the snapshot and are older, and
// only those: rows that are equal are read, not locked. OFFSET 0 keeps the
// planner from reading all rows of the home for each chunk, which it does while
// the table has no statistics: 30 ms instead of 1 ms with 10,000 entities.
func syncStates(ctx context.Context, tx pgx.Tx, home int64, records []concord.Record, counts *concord.StageCounts) error {
	c := columnsOf(records)
	var created, updated int
	err := tx.QueryRow(ctx, `
		with given as (
			select *
			from unnest($2::text[], $3::text[], $4::jsonb[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::bigint[], $9::bigint[])
			  as e (entity_id, state, attributes, last_changed, last_updated, context_id, epoch, seq)
		), written as (
			insert into entity_state as s
			       (home_id, entity_id, state, attributes, last_changed, last_updated, context_id, epoch, seq)
			select $1, g.*
			from given g
			left join lateral (
				select * from entity_state o where o.home_id = $1 and o.entity_id = g.entity_id offset 0
			) o on true
			where o.entity_id is null
			   or (o.epoch, o.seq) < (g.epoch, g.seq)
			      and (o.state, o.attributes, o.last_changed, o.last_updated) is distinct from
			          (g.state, g.attributes, g.last_changed, g.last_updated)
			order by g.entity_id
			on conflict (home_id, entity_id) do update
			set state = excluded.state, attributes = excluded.attributes, last_changed = excluded.last_changed,
			    last_updated = excluded.last_updated, context_id = excluded.context_id,
			    epoch = excluded.epoch, seq = excluded.seq
			where (s.epoch, s.seq) < (excluded.epoch, excluded.seq)
			returning (xmax = 0) as created
		)
		select count(*) filter (where created), count(*) filter (where not created) from written`,
		home, c.ids, c.states, c.attributes, c.changed, c.updated, c.contexts, c.epochs, c.seqs).Scan(&created, &updated)
	if err != nil {
		return err
	}
	counts.Created += created
	counts.Updated += updated
	counts.Unchanged += len(records) - created - updated
	return nil
}

// relations brings devices in, and says which device and area an entity
// belongs to.
func (r *stageRun) relations(ctx context.Context) error {
	parts := r.snapshot.Registry
	devices := make([]row, len(parts.Devices))
	for i := range parts.Devices {
		d := &parts.Devices[i]
		devices[i] = row{
			"device_id": d.ID, "key": concord.DeviceKey(d.ID), "area_id": d.AreaID, "name": d.Name, "name_by_user": d.NameByUser,
			"manufacturer": d.Manufacturer, "model": d.Model, "sw_version": d.SWVersion, "via_device_id": d.ViaDeviceID,
			"disabled_by": d.DisabledBy, "labels": orEmpty(d.Labels),
		}
	}
	if err := r.syncTable(ctx, deviceTable, devices); err != nil {
		return err
	}
	for batch := range slices.Chunk(parts.Entities, r.db.commit) {
		if err := r.transact(ctx, func(ctx context.Context, tx pgx.Tx, c *concord.StageCounts) error {
			return linkEntities(ctx, tx, r.snapshot.HomeID, batch, c)
		}); err != nil {
			return err
		}
	}
	return nil
}

func linkEntities(ctx context.Context, tx pgx.Tx, home int64, entities []concord.Entity, c *concord.StageCounts) error {
	var ids, devices, areas []string
	for i := range entities {
		e := &entities[i]
		if badText(e.EntityID) || badText(e.DeviceID) || badText(e.AreaID) { // in quarantine since the stage before
			continue
		}
		ids, devices, areas = append(ids, e.EntityID), append(devices, e.DeviceID), append(areas, e.AreaID)
	}
	tag, err := tx.Exec(ctx, `
		update entity e
		set device_id = g.device_id, area_id = g.area_id
		from unnest($2::text[], $3::text[], $4::text[]) as g (entity_id, device_id, area_id)
		where e.home_id = $1 and e.entity_id = g.entity_id and (e.device_id, e.area_id) <> (g.device_id, g.area_id)`,
		home, ids, devices, areas)
	c.Updated += int(tag.RowsAffected())
	c.Unchanged += len(ids) - int(tag.RowsAffected())
	return err
}
