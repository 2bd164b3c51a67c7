package pagetest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

//go:embed house.txt
var houseText string

// state is one entity's state as Home Assistant's compressed form has it.
type state struct {
	State      string         `json:"s"`
	Attributes map[string]any `json:"a"`
	Changed    float64        `json:"lc"`
}

type entity struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	FullName string `json:"full_name"`
	Class    string `json:"dc,omitempty"`
	Category string `json:"cat,omitempty"`
	Unit     string `json:"unit,omitempty"`
	Prec     *int   `json:"prec,omitempty"`
}

type device struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Manufacturer string   `json:"manufacturer"`
	Model        string   `json:"model"`
	Battery      *string  `json:"battery"`
	Entities     []entity `json:"entities"`
	Count        int      `json:"entity_count"`
}

type area struct {
	ID         string `json:"area_id"`
	Name       string `json:"name"`
	Icon       any    `json:"icon"`
	FloorID    string `json:"floor_id"`
	devices    []device
	standalone []entity
}

type floor struct {
	ID    string `json:"floor_id"`
	Name  string `json:"name"`
	Icon  any    `json:"icon"`
	Level int    `json:"level"`
}

// house is the parsed house.txt with its states.
type house struct {
	floors []floor
	areas  []*area
	states map[string]state
	order  []string // entity ids as they stand in the file
}

func parseHouse(text string) *house {
	h := &house{states: map[string]state{}}
	standalone := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || word == "#":
		case word == "floor":
			f := strings.SplitN(rest, " ", 3)
			level, _ := strconv.Atoi(f[1])
			h.floors = append(h.floors, floor{ID: f[0], Level: level, Name: f[2]})
		case word == "area":
			f := strings.SplitN(rest, " ", 3)
			h.areas = append(h.areas, &area{ID: f[0], FloorID: f[1], Name: f[2]})
			standalone = false
		case word == "device":
			h.addDevice(fields(rest))
			standalone = false
		case word == "standalone":
			standalone = true
		case strings.Contains(word, "."):
			h.addEntity(fields(line), standalone)
		}
	}
	return h
}

func fields(line string) []string {
	parts := strings.Split(line, "|")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

func (h *house) last() *area { return h.areas[len(h.areas)-1] }

func (h *house) addDevice(f []string) {
	d := device{ID: fmt.Sprintf("device%d", len(h.order)), Name: f[0], Manufacturer: f[1], Model: f[2]}
	if len(f) > 3 {
		battery := strings.TrimPrefix(f[3], "battery=")
		d.Battery = &battery
	}
	a := h.last()
	a.devices = append(a.devices, d)
}

func (h *house) addEntity(f []string, standalone bool) {
	e := entity{ID: f[0], Name: f[1], FullName: f[1]}
	st := state{State: f[2], Attributes: map[string]any{}, Changed: float64(time.Now().Unix() - 60*int64(1+len(h.order)%90))}
	if err := json.Unmarshal([]byte(f[3]), &st.Attributes); err != nil {
		panic(e.ID + ": " + err.Error())
	}
	if len(f) > 4 {
		e.set(f[4])
	}
	a := h.last()
	if standalone {
		a.standalone = append(a.standalone, e)
	} else {
		d := &a.devices[len(a.devices)-1]
		e.FullName = strings.TrimSpace(d.Name + " " + f[1])
		d.Entities = append(d.Entities, e)
		d.Count++
	}
	st.Attributes["friendly_name"] = e.FullName
	h.states[e.ID] = st
	h.order = append(h.order, e.ID)
}

func (e *entity) set(options string) {
	for option := range strings.FieldsSeq(options) {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "dc":
			e.Class = value
		case "cat":
			e.Category = value
		case "unit":
			e.Unit = value
		case "prec":
			n, _ := strconv.Atoi(value)
			e.Prec = &n
		}
	}
}

func (a *area) entities() []entity {
	var all []entity
	for _, d := range a.devices {
		all = append(all, d.Entities...)
	}
	return append(all, a.standalone...)
}

// summary is what the area's card shows.
func (h *house) summary(a *area) map[string]any {
	lights := [2]int{}
	ids, active, open, gone, alert := []string{}, []string{}, 0, 0, []string{}
	s := map[string]any{"temp": nil, "hum": nil, "motion": nil}
	for _, e := range a.entities() {
		st := h.states[e.ID]
		domain, _, _ := strings.Cut(e.ID, ".")
		switch {
		case st.State == "unavailable":
			gone++
		case domain == "light":
			lights[1]++
			ids = append(ids, e.ID)
			if st.State == "on" {
				lights[0]++
			}
		case domain == "media_player" && st.State == "playing", domain == "climate" && st.Attributes["hvac_action"] == "heating":
			active = append(active, e.ID)
		case e.Class == "door" || e.Class == "window":
			if st.State == "on" {
				open++
			}
		case e.Class == "moisture" && domain == "binary_sensor" && st.State == "on":
			alert = append(alert, e.ID)
		case e.Class == "occupancy" || e.Class == "motion":
			s["motion"] = st.State == "on"
		case e.Class == "temperature" && s["temp"] == nil:
			s["temp"] = st.State + " °C"
		case e.Class == "humidity" && s["hum"] == nil:
			s["hum"] = st.State + " %"
		}
	}
	s["n"], s["lights"], s["light_ids"], s["active"], s["open"], s["unavail"], s["alert"] = len(a.entities()), lights, ids, active, open, gone, alert
	return s
}
