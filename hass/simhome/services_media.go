package simhome

import "time"

// tracks are what media players play.
var tracks = []struct{ artist, title, album string }{
	{"Nils Frahm", "Says", "Spaces"},
	{"Khruangbin", "White Gloves", "The Universe Smiles Upon You"},
	{"Hania Rani", "Glass", "Esja"},
	{"Air", "La femme d'argent", "Moon Safari"},
}

func playPause(c *call, e *entity) error {
	if e.state.State == "playing" {
		return c.set(e, "paused", nil)
	}
	return c.set(e, "playing", nil)
}

func track(step int) service {
	return func(c *call, e *entity) error {
		a := e.attributes()
		at := 0
		for i, t := range tracks {
			if t.title == a["media_title"] {
				at = i
			}
		}
		t := tracks[(at+step+len(tracks))%len(tracks)]
		return c.set(e, "playing", map[string]any{
			"media_title": t.title, "media_artist": t.artist, "media_album_name": t.album, "media_position": 0.0,
			"media_position_updated_at": c.now(),
		})
	}
}

func (c *call) now() string { return c.home.clock.last.Format("2006-01-02T15:04:05.000000+00:00") }

func volumeMute(c *call, e *entity) error {
	return c.set(e, "", map[string]any{"is_volume_muted": c.data["is_volume_muted"]})
}

func volume(step float64) service {
	return func(c *call, e *entity) error {
		v, _ := e.attributes()["volume_level"].(float64)
		v = float64(int(min(max(v+step, 0), 1)*100+0.5)) / 100
		return c.set(e, "", map[string]any{"volume_level": v})
	}
}

func seek(c *call, e *entity) error {
	p, ok := c.number("seek_position")
	if !ok {
		return invalid("required key not provided @ data['seek_position']")
	}
	return c.set(e, "", map[string]any{"media_position": p, "media_position_updated_at": c.now()})
}

func motionDetection(on bool) service {
	return func(c *call, e *entity) error { return c.set(e, "", map[string]any{"motion_detection": on}) }
}

// install takes two seconds.
func install(c *call, e *entity) error {
	a := e.attributes()
	if a["installed_version"] == a["latest_version"] {
		return invalid("No update available for " + e.state.EntityID)
	}
	c.home.after(2*time.Second, e.state.EntityID, func() {
		c.home.update(e, "off", map[string]any{"in_progress": false, "update_percentage": nil, "installed_version": a["latest_version"]}, c.context)
	})
	return c.set(e, "", map[string]any{"in_progress": true, "update_percentage": 10.0})
}

func skip(c *call, e *entity) error {
	return c.set(e, "off", map[string]any{"skipped_version": e.attributes()["latest_version"]})
}
