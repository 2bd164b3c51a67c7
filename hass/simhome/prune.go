package simhome

import (
	"slices"
)

// prune brings the family house down to a size that is smaller than its own.
func prune(b *builder) {
	o, reg := &b.h.opts, &b.h.reg
	if o.Floors > 0 && len(reg.floors) > o.Floors {
		reg.floors = reg.floors[:o.Floors]
		for i, a := range reg.areas {
			if a.FloorID != nil {
				a.FloorID = &reg.floors[i%o.Floors].FloorID
			}
		}
	}
	if o.Areas > 0 && len(reg.areas) > o.Areas {
		b.mergeAreas(o.Areas)
	}
	used := map[string]bool{}
	for _, e := range b.h.entities {
		if e.entry != nil {
			used[e.entry.DeviceID] = true
		}
	}
	reg.devices = slices.DeleteFunc(reg.devices, func(d *device) bool { return !used[d.ID] })
	if o.Devices > 0 && len(reg.devices) > o.Devices {
		b.dropDevices(o.Devices)
	}
}

func (b *builder) mergeAreas(keep int) {
	reg := &b.h.reg
	into := map[string]string{}
	for i, a := range reg.areas {
		into[a.AreaID] = reg.areas[i%keep].AreaID
	}
	reg.areas = reg.areas[:keep]
	for _, d := range reg.devices {
		if d.AreaID != nil {
			d.AreaID = optional(into[*d.AreaID])
		}
	}
	for _, e := range b.h.entities {
		if e.entry != nil {
			e.entry.AreaID = into[e.entry.AreaID]
		}
	}
}

// dropDevices leaves the entities of the dropped devices stand alone in their area.
func (b *builder) dropDevices(keep int) {
	reg := &b.h.reg
	kept := map[string]bool{}
	for _, d := range reg.devices[:keep] {
		kept[d.ID] = true
	}
	for _, e := range b.h.entities {
		if e.entry == nil || e.entry.DeviceID == "" || kept[e.entry.DeviceID] {
			continue
		}
		e.entry.AreaID = b.h.areaOf(e.entry)
		e.entry.OriginalName = b.h.friendlyName(e.entry)
		e.entry.DeviceID, e.entry.HasEntityName = "", false
	}
	reg.devices = reg.devices[:keep]
}
