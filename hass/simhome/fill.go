package simhome

import "fmt"

// fill adds plausible more until the house has the size that was asked for.
func fill(b *builder) {
	o := &b.h.opts
	for n := 1; len(b.h.reg.floors) < o.Floors; n++ {
		b.addFloor(fmt.Sprintf("floor_%d", n+2), fmt.Sprintf("Floor %d", n+2), "", n+2)
	}
	for n := 1; len(b.h.reg.areas) < o.Areas; n++ {
		b.floor = b.h.reg.floors[len(b.h.reg.areas)%len(b.h.reg.floors)].FloorID
		b.addArea(fmt.Sprintf("Room %d", n), "mdi:door")
	}
	areas := b.h.reg.areas
	entities := max(o.Entities, b.live)
	perDevice := 10
	if missing := o.Devices - len(b.h.reg.devices); missing > 0 {
		perDevice = max(1, (entities-b.live+missing-1)/missing)
	}
	for n := 0; b.live < entities || len(b.h.reg.devices) < o.Devices; n++ {
		b.area = areas[n%len(areas)].AreaID
		kind := extras[n%len(extras)]
		b.device(fmt.Sprintf("%s %d", kind.name, n+1), kind.maker, kind.model, kind.platform)
		for i := range min(perDevice, entities-b.live) {
			kind.add(b, i)
		}
	}
}

// extra is a kind of device that a larger home has many of.
type extra struct {
	name, maker, model, platform string
	add                          func(b *builder, i int) // its i-th entity
}

var extras = []extra{
	{"Multisensor", "Aeotec", "ZWA039", "zwave_js", readings},
	{"Power Meter", "Shelly", "SHEM-3", "shelly", meter},
	{"Smart Plug", "TP-Link", "HS110", "tplink", plug},
	{"Spot", "IKEA of Sweden", "TRADFRI bulb GU10 WS", "zha", spot},
}

func readings(b *builder, i int) {
	if i < 10 && i%5 == 0 {
		b.add(spec{id: "binary_sensor", name: numbered("Motion", i/5), state: "off", class: "motion"})
		return
	}
	b.reading(i)
}

func meter(b *builder, i int) { b.reading(i + 4) }

func plug(b *builder, i int) {
	if i == 0 {
		b.add(spec{id: "switch", state: "on", class: "outlet"})
		return
	}
	b.reading(i + 3)
}

func spot(b *builder, i int) {
	if i == 0 {
		b.add(spec{id: "light", state: "off", attrs: ambiance(false)})
		return
	}
	b.reading(i)
}

func numbered(name string, n int) string {
	if n == 0 {
		return name
	}
	return fmt.Sprintf("%s %d", name, n+1)
}

// quantity is something that sensors measure.
type quantity struct {
	name, class, unit, stateClass string
	mover                         mover
}

var quantities = []quantity{
	{"Temperature", "temperature", "°C", "measurement", mover{mean: 20, swing: 2, peak: 16, noise: 0.2, step: 0.1, digits: 1, low: -30, high: 60}},
	{"Humidity", "humidity", "%", "measurement", mover{mean: 48, swing: 6, peak: 7, noise: 0.8, step: 0.5, digits: 1, low: 0, high: 100}},
	{"Illuminance", "illuminance", "lx", "measurement", mover{mean: 180, swing: 260, peak: 13, noise: 15, step: 1, low: 0, high: 20000}},
	{"Carbon dioxide", "carbon_dioxide", "ppm", "measurement", mover{mean: 680, swing: 180, peak: 20, noise: 12, step: 1, low: 400, high: 5000}},
	{"Power", "power", "W", "measurement", mover{mean: 90, swing: 60, peak: 19, noise: 25, step: 0.1, digits: 1, low: 0, high: 3680}},
	{"Energy", "energy", "kWh", "total_increasing", mover{mean: 1200, step: 0.01, digits: 2, low: 0, high: 1e9, rising: 0.12}},
	{"Voltage", "voltage", "V", "measurement", mover{mean: 231, swing: 2, peak: 3, noise: 0.6, step: 0.1, digits: 1, low: 200, high: 250}},
	{"Current", "current", "A", "measurement", mover{mean: 0.4, swing: 0.25, peak: 19, noise: 0.1, step: 0.01, digits: 2, low: 0, high: 16}},
	{"Signal strength", "signal_strength", "dBm", "measurement", mover{mean: -61, swing: 2, peak: 4, noise: 2, step: 1, low: -100, high: -20}},
}

// reading adds the i-th quantity, going round.
func (b *builder) reading(i int) {
	q := quantities[i%len(quantities)]
	m := q.mover
	m.mean += m.step * float64(b.rng.IntN(21)-10)
	m.mean = min(max(m.mean, m.low), m.high)
	s := spec{id: "sensor", name: numbered(q.name, i/len(quantities)), class: q.class, unit: q.unit, digits: m.digits,
		mover: &m, state: m.text(m.value(b.h.started)), attrs: attrs{"state_class": q.stateClass}}
	if q.class == "signal_strength" {
		s.category = "diagnostic"
	}
	b.add(s)
}
