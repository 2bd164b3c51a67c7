package faulttest

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// fault breaks one thing, and mends it before it returns.
type fault struct {
	name string
	do   func(r *Run, ctx context.Context) error
	disk bool // needs disks that can be harmed
	// met is the SQLSTATE that Concord must be answered while it lasts; "" for none.
	met string
}

var faults = []fault{
	{name: "kill concord", do: (*Run).killConcord},
	{name: "kill concord while the home is off", do: (*Run).killBoth},
	{name: "kill concord while its disk is full", do: (*Run).killFull, disk: true},
	{name: "full disk of concord", do: (*Run).fullSpool, disk: true},
	{name: "kill postgresql", do: (*Run).killPostgres},
	{name: "freeze postgresql", do: (*Run).freezePostgres},
	{name: "full disk of postgresql", do: (*Run).fullDatabase, disk: true, met: "53100"},
	{name: "postgresql becomes a standby and is promoted", do: (*Run).standby, met: "0A000"},
	{name: "too many connections", do: (*Run).exhaust, met: "53300"},
	{name: "cut database connections", do: func(r *Run, _ context.Context) error { r.proxy.cutAll(); return nil }},
	{name: "cut a database connection after some bytes", do: (*Run).cutLater},
	{name: "slow database", do: (*Run).slowDatabase},
	{name: "slow disk of postgresql", do: func(r *Run, ctx context.Context) error { return r.slowDisk(ctx, &r.disks.database) }, disk: true},
	{name: "slow disk of concord", do: func(r *Run, ctx context.Context) error { return r.slowDisk(ctx, &r.disks.concord) }, disk: true},
	{name: "disk of concord hangs", do: (*Run).hangSpool, disk: true},
	{name: "cut the link", do: func(r *Run, _ context.Context) error { r.trial.Home.Disconnect(); return nil }},
	{name: "home off", do: (*Run).homeOff},
	{name: "home restarts", do: func(r *Run, _ context.Context) error { r.trial.Home.Restart(r.moment()); return nil }},
	{name: "home stalls", do: func(r *Run, _ context.Context) error { r.trial.Home.Stall(r.moment()); return nil }},
	{name: "home sends twice", do: func(r *Run, _ context.Context) error { r.trial.Home.Duplicate(20); return nil }},
	{name: "home sends out of order", do: func(r *Run, _ context.Context) error { r.trial.Home.Reorder(10); return nil }},
	{name: "clock of the home steps", do: (*Run).stepClock},
	{name: "clock of the home steps while it is off", do: (*Run).stepClockOff},
	{name: "entities renamed", do: (*Run).rename},
	{name: "entities renamed while the home is off", do: (*Run).renameOff},
	{name: "entities renamed twice", do: (*Run).renameTwice},
	{name: "names change hands", do: (*Run).handOver},
	{name: "names exchanged", do: (*Run).exchange},
	{name: "names exchanged while the home is off", do: (*Run).exchangeOff},
	{name: "names exchanged while concord is killed", do: (*Run).exchangeKilled},
	{name: "an entity removed and added again", do: (*Run).recreate},
	{name: "an entity removed and added again while the home is off", do: (*Run).recreateOff},
	{name: "an entity removed while the home is off, and added again", do: (*Run).removeOff},
	{name: "burst", do: func(r *Run, _ context.Context) error { r.trial.Home.Emit(3000); return nil }},
}

// Kinds is how many faults there are, those included that this machine may not allow.
func Kinds() int { return len(faults) }

// moment is a time of up to 600 ms.
func (r *Run) moment() time.Duration { return time.Duration(r.rng.IntN(600)) * time.Millisecond }

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (r *Run) killConcord(ctx context.Context) error {
	if err := r.trial.KillConcord(); err != nil {
		return err
	}
	return r.trial.StartConcord(ctx)
}

func (r *Run) killBoth(ctx context.Context) error {
	r.trial.HomeOff()
	if err := errors.Join(r.trial.KillConcord(), pause(ctx, r.moment()), r.trial.HomeOn()); err != nil {
		return err
	}
	return r.trial.StartConcord(ctx)
}

// killFull kills Concord with what it heard and could not make safe.
func (r *Run) killFull(ctx context.Context) error {
	if err := r.disks.concord.fill(); err != nil {
		return err
	}
	r.trial.Home.Emit(3000)
	if err := errors.Join(pause(ctx, r.moment()), r.trial.KillConcord(), r.disks.concord.free()); err != nil {
		return err
	}
	return r.trial.StartConcord(ctx)
}

func (r *Run) fullSpool(ctx context.Context) error {
	if err := r.disks.concord.fill(); err != nil {
		return err
	}
	r.trial.Home.Emit(3000)
	return errors.Join(pause(ctx, 2*r.moment()), r.disks.concord.free())
}

// slowDisk has a disk do nothing most of the time.
func (r *Run) slowDisk(ctx context.Context, d *disk) error {
	for range 8 {
		if err := errors.Join(d.hang(ctx, r.moment()/3), pause(ctx, 10*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

// hangSpool has what is spooled wait for longer than Concord waits for an answer,
// so that it spools it again.
func (r *Run) hangSpool(ctx context.Context) error {
	return r.disks.concord.hang(ctx, 6*time.Second)
}

func (r *Run) cutLater(context.Context) error {
	r.proxy.cutAfter(int64(r.rng.IntN(200_000)))
	return nil
}

func (r *Run) slowDatabase(ctx context.Context) error {
	r.proxy.delay(20 * time.Millisecond)
	err := pause(ctx, 3*r.moment())
	r.proxy.delay(0)
	return err
}

func (r *Run) killPostgres(context.Context) error {
	pid := r.server.PID()
	if pid == 0 { // just killed
		return nil
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

func (r *Run) freezePostgres(ctx context.Context) error {
	pid := r.server.PID()
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(-pid, syscall.SIGSTOP); err != nil {
		return err
	}
	return errors.Join(pause(ctx, r.moment()), syscall.Kill(-pid, syscall.SIGCONT))
}
