package faulttest

import (
	"errors"
	"os"
	"path/filepath"
)

// roomy is the size of a disk that is not full.
const roomy = 3 << 30

// disks are what Concord and PostgreSQL write to.
type disks struct {
	dir, logs         string
	database, concord disk
}

// disk is a directory with a size of its own, in memory: pages are taken as
// they are written.
type disk struct {
	path    string
	mounted bool
}

func (d *disks) make() error {
	var err error
	if d.dir, err = os.MkdirTemp("", "concord-faults-"); err != nil {
		return err
	}
	d.logs, d.database.path, d.concord.path = filepath.Join(d.dir, "logs"), filepath.Join(d.dir, "database"), filepath.Join(d.dir, "concord")
	// PostgreSQL runs as another user.
	return errors.Join(os.Chmod(d.dir, 0o711), os.Mkdir(d.logs, 0o700), os.Chmod(d.logs, 0o777), d.database.make(), d.concord.make())
}

func (d *disks) remove() error {
	return errors.Join(d.database.unmount(), d.concord.unmount(), os.RemoveAll(d.dir))
}

// make mounts the disk. Without the right to do so it is a plain directory,
// which never gets full.
func (d *disk) make() error {
	if err := os.Mkdir(d.path, 0o711); err != nil {
		return err
	}
	d.mounted = mount(d.path, roomy) == nil
	return nil
}

func (d *disk) unmount() error {
	if !d.mounted {
		return nil
	}
	d.mounted = false
	return unmount(d.path)
}

// fill leaves no room: the disk is as small as what is on it.
func (d *disk) fill() error { return shrink(d.path) }

// free gives the room back.
func (d *disk) free() error { return resize(d.path, roomy) }
