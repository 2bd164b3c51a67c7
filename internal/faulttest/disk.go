package faulttest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// roomy is the size of a disk; its blocks are in memory once they are written.
const roomy = 3 << 30

// disks are what Concord and PostgreSQL write to.
type disks struct {
	dir, logs         string
	memory            string // where the disks' blocks are
	database, concord disk
	// why says why the disks cannot be harmed; nil when they can.
	why error
}

// disk is a directory on a file system of its own, which can be full, and hang.
type disk struct {
	path    string // for whoever uses it
	root    string // of the file system
	mounted bool
}

var errOwnDisk = errors.New("the machine's own disk is used")

// make makes the disks. On the machine's own disk, or without the right to
// mount, they are plain directories, and why is set.
func (d *disks) make(own bool) error {
	var err error
	if d.dir, err = os.MkdirTemp("", "concord-faults-"); err != nil {
		return err
	}
	d.logs, d.memory = filepath.Join(d.dir, "logs"), filepath.Join(d.dir, "memory")
	d.database.root, d.concord.root = filepath.Join(d.dir, "database"), filepath.Join(d.dir, "concord")
	// PostgreSQL runs as another user.
	err = errors.Join(os.Chmod(d.dir, 0o711), os.Mkdir(d.logs, 0o700), os.Chmod(d.logs, 0o777), os.Mkdir(d.memory, 0o700))
	if err != nil {
		return err
	}
	if d.why = errOwnDisk; !own {
		d.why = mountMemory(d.memory, 3*roomy)
	}
	return errors.Join(d.makeOne(&d.database), d.makeOne(&d.concord))
}

func (d *disks) makeOne(one *disk) error {
	if err := os.Mkdir(one.root, 0o711); err != nil {
		return err
	}
	if d.why == nil {
		d.why = mountImage(filepath.Join(d.memory, filepath.Base(one.root)), one.root, roomy)
		one.mounted = d.why == nil
	}
	one.path = filepath.Join(one.root, "data")
	return os.Mkdir(one.path, 0o711)
}

func (d *disks) remove() error {
	return errors.Join(d.database.unmount(), d.concord.unmount(), unmount(d.memory), os.RemoveAll(d.dir))
}

func (d *disk) unmount() error {
	if !d.mounted {
		return nil
	}
	d.mounted = false
	return unmount(d.root)
}

func (d *disk) filler() string { return filepath.Join(d.root, "filler") }

// fill leaves no room.
func (d *disk) fill() error { return fillUp(d.root, d.filler()) }

// free gives the room back.
func (d *disk) free() error { return os.Remove(d.filler()) }

// hang has nothing written to the disk for a time: whoever writes or syncs waits.
func (d *disk) hang(ctx context.Context, span time.Duration) error {
	thaw, err := freeze(d.root)
	if err != nil {
		return err
	}
	return errors.Join(pause(ctx, span), thaw())
}
