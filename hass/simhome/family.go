package simhome

// family furnishes the house that everybody gets: a family of four near
// Amsterdam, three floors and a garden.
func family(b *builder) {
	b.addLabel("Energy", "mdi:lightning-bolt", "yellow")
	b.addLabel("Heating", "mdi:radiator", "red")
	b.addLabel("Night", "mdi:weather-night", "indigo")
	b.addFloor("ground_floor", "Ground floor", "mdi:home-floor-0", 0)
	livingRoom(b)
	kitchen(b)
	hallway(b)
	b.addFloor("first_floor", "First floor", "mdi:home-floor-1", 1)
	bedroom(b)
	childrensRoom(b)
	bathroom(b)
	b.addFloor("attic", "Attic", "mdi:home-roof", 2)
	office(b)
	b.floor = ""
	garden(b)
	b.addFloor("basement", "Basement", "mdi:home-floor-negative-1", -1)
	utilityRoom(b)
	b.area = ""
	elsewhere(b)
	people(b)
	helpers(b)
	scenes(b)
}

func livingRoom(b *builder) {
	b.addArea("Living Room", "mdi:sofa").Aliases = []string{"lounge"}
	b.hue("Ceiling Light", false, 178)
	b.hue("Floor Lamp", true, 102)
	b.hue("Shelf Light Strip", true, 0)
	b.climate(21.2, 46, 84)
	b.thermostat("Living Room Radiator", 21, 20.6)
	b.motion("Living Room Motion", 63)
	b.blind("Living Room Blind", "blind", 70)
	b.contact("Terrace Door", "door", "off", 91)
	b.speaker("Living Room Speaker", "Arc", "playing", 0)
	b.device("Television", "LG Electronics", "OLED55C2", "webostv")
	b.add(spec{id: "media_player", state: "off", class: "tv", attrs: attrs{"supported_features": 24381, "source_list": []string{"HDMI 1", "HDMI 2", "Live TV", "Netflix"}, "volume_level": 0.18, "is_volume_muted": false}})
	b.plug("TV Corner Plug", "outlet", "on", 14)
	b.device("Air Quality Monitor", "Awair", "Element", "awair")
	b.reading(3)
	b.add(spec{id: "sensor", name: "PM2.5", class: "pm25", unit: "µg/m³", state: "4", attrs: attrs{"state_class": "measurement"}, mover: &mover{mean: 5, swing: 2, peak: 18, noise: 1, step: 1, low: 0, high: 500}})
	b.add(spec{id: "sensor", name: "Volatile organic compounds", class: "volatile_organic_compounds_parts", unit: "ppb", state: "212", attrs: attrs{"state_class": "measurement"}, mover: &mover{mean: 220, swing: 60, peak: 19, noise: 12, step: 1, low: 0, high: 5000}})
}

func kitchen(b *builder) {
	b.addArea("Kitchen", "mdi:silverware-fork-knife")
	b.dimmer("Kitchen Spots", "on", 255)
	b.hue("Dining Table Pendant", false, 140)
	b.climate(20.8, 52, 47)
	b.contact("Kitchen Window", "window", "on", 78)
	b.device("Fridge", "Liebherr", "CBNsdc 5753", "smartdevice")
	b.add(spec{id: "sensor", name: "Fridge temperature", class: "temperature", unit: "°C", digits: 1, state: "4.2", attrs: attrs{"state_class": "measurement"}, mover: &mover{mean: 4.2, swing: 0.3, peak: 13, noise: 0.2, step: 0.1, digits: 1, low: 0, high: 12}})
	b.add(spec{id: "sensor", name: "Freezer temperature", class: "temperature", unit: "°C", digits: 1, state: "-18.6", attrs: attrs{"state_class": "measurement"}, mover: &mover{mean: -18.5, swing: 0.4, peak: 14, noise: 0.2, step: 0.1, digits: 1, low: -30, high: 0}})
	b.add(spec{id: "binary_sensor", name: "Door", state: "off", class: "door"})
	b.device("Dishwasher", "Bosch", "SMV6ZCX16E", "home_connect")
	b.add(spec{id: "sensor", name: "Operation state", class: "enum", state: "ready", attrs: attrs{"options": []string{"inactive", "ready", "run", "finished"}}})
	b.add(spec{id: "select", name: "Program", state: "Eco 50 °C", icon: "mdi:dishwasher", attrs: attrs{"options": []string{"Auto", "Eco 50 °C", "Quick 45 min", "Intensive 70 °C"}}})
	b.add(spec{id: "binary_sensor", name: "Remote control", state: "on", category: "diagnostic"})
	b.plug("Coffee Machine", "outlet", "off", 3)
	b.contact("Sink Leak Sensor", "moisture", "off", 96)
	b.speaker("Kitchen Speaker", "One SL", "paused", 1)
	b.device("Kitchen Smoke Detector", "Bosch", "BSD-2", "zha")
	b.add(spec{id: "binary_sensor", name: "Smoke", state: "off", class: "smoke"})
	b.add(spec{id: "siren", name: "Siren", state: "off", attrs: attrs{"supported_features": 3}})
	b.battery(88)
}

func hallway(b *builder) {
	b.addArea("Hallway", "mdi:coat-rack")
	b.dimmer("Hallway Light", "off", nil)
	b.motion("Hallway Motion", 55)
	b.device("Front Door Lock", "Nuki", "Smart Lock 3.0 Pro", "nuki")
	b.add(spec{id: "lock", state: "locked", attrs: attrs{"supported_features": 1}})
	b.add(spec{id: "binary_sensor", name: "Door", state: "off", class: "door"})
	b.battery(12)
	b.device("Doorbell", "Reolink", "Video Doorbell PoE", "reolink")
	b.add(spec{id: "camera", name: "Fluent", state: "idle", attrs: attrs{"supported_features": 2, "motion_detection": true, "brand": "Reolink"}})
	b.add(spec{id: "event", name: "Doorbell", state: "unknown", class: "doorbell", attrs: attrs{"event_types": []string{"ring"}, "event_type": nil}})
	b.add(spec{id: "binary_sensor", name: "Person", state: "off", icon: "mdi:account-eye"})
	b.add(spec{id: "select", name: "Day night mode", state: "auto", category: "config", attrs: attrs{"options": []string{"auto", "color", "blackwhite"}}})
	b.device("Alarm", "Ajax", "Hub 2", "ajax")
	b.add(spec{id: "alarm_control_panel", state: "disarmed", attrs: attrs{"code_format": "number", "code_arm_required": false, "changed_by": nil, "supported_features": 63}})
}

func bedroom(b *builder) {
	b.addArea("Bedroom", "mdi:bed-king")
	b.hue("Bedside Lamp Left", true, 0)
	b.hue("Bedside Lamp Right", true, 0)
	b.dimmer("Bedroom Ceiling", "off", nil)
	b.climate(18.4, 51, 73)
	b.thermostat("Bedroom Radiator", 17, 18.1)
	b.blind("Bedroom Shutter", "shutter", 0)
	b.contact("Bedroom Window", "window", "off", 69)
	b.device("Air Conditioner", "Daikin", "FTXM35R", "daikin")
	b.add(spec{id: "climate", state: "off", attrs: attrs{
		"hvac_modes": []string{"off", "heat", "cool", "heat_cool", "dry", "fan_only"}, "min_temp": 10, "max_temp": 32, "target_temp_step": 0.5,
		"fan_modes": []string{"auto", "low", "medium", "high", "silence"}, "fan_mode": "auto", "swing_modes": []string{"off", "vertical", "horizontal"}, "swing_mode": "off",
		"current_temperature": 18.5, "temperature": 22, "hvac_action": "off", "supported_features": 425,
	}})
	b.device("Humidifier", "Xiaomi", "Smart Humidifier 2", "xiaomi_miio")
	b.add(spec{id: "humidifier", state: "on", class: "humidifier", attrs: attrs{"min_humidity": 30, "max_humidity": 70, "humidity": 50, "current_humidity": 48, "available_modes": []string{"auto", "silent", "favorite"}, "mode": "silent", "action": "humidifying", "supported_features": 1}})
	b.add(spec{id: "sensor", name: "Water level", unit: "%", state: "64", icon: "mdi:water-percent", attrs: attrs{"state_class": "measurement"}})
}

func childrensRoom(b *builder) {
	b.addArea("Children's Room", "mdi:teddy-bear")
	b.hue("Night Light", true, 26)
	b.hue("Star Projector", false, 0)
	b.climate(19.7, 49, 38)
	b.thermostat("Children's Room Radiator", 19.5, 19.6)
	b.blind("Children's Room Blind", "blind", 100)
	b.device("Ceiling Fan", "Hunter", "Dempsey", "bond")
	b.add(spec{id: "fan", state: "off", attrs: attrs{"percentage": 0, "percentage_step": 33.333, "preset_modes": []string{"breeze", "sleep"}, "preset_mode": nil, "oscillating": false, "direction": "forward", "supported_features": 63}})
	b.device("Window Handle", "Homematic", "HM-Sec-RHS", "homematic")
	b.add(spec{id: "binary_sensor", name: "State", state: "unavailable", class: "window"})
	b.add(spec{id: "sensor", name: "Battery voltage", class: "voltage", unit: "V", state: "unavailable", category: "diagnostic", digits: 1})
}

func bathroom(b *builder) {
	b.addArea("Bathroom", "mdi:shower-head")
	b.dimmer("Bathroom Mirror", "off", nil)
	b.climate(22.6, 63, 80)
	b.device("Bathroom Fan", "Zehnder", "ComfoFan S", "zehnder")
	b.add(spec{id: "fan", state: "on", attrs: attrs{"percentage": 33, "percentage_step": 33.333, "preset_modes": []string{"auto", "boost"}, "preset_mode": "auto", "supported_features": 57}})
	b.device("Towel Rail", "Zehnder", "Zafiro", "generic_thermostat")
	b.add(spec{id: "switch", state: "off", icon: "mdi:heating-coil", labels: []string{"heating"}})
	b.contact("Washing Machine Leak", "moisture", "off", 100)
	b.device("Scale", "Withings", "Body+", "withings")
	b.add(spec{id: "sensor", name: "Weight", class: "weight", unit: "kg", digits: 1, state: "71.4", attrs: attrs{"state_class": "measurement"}})
}

func office(b *builder) {
	b.addArea("Office", "mdi:desk")
	b.hue("Desk Lamp", false, 210)
	b.climate(20.9, 44, 90)
	b.plug("Desk Plug", "outlet", "on", 86)
	b.device("Standing Desk", "IKEA of Sweden", "IDÅSEN", "idasen_desk")
	b.add(spec{id: "cover", state: "open", attrs: attrs{"current_position": 42, "supported_features": 15}})
	b.add(spec{id: "sensor", name: "Height", class: "distance", unit: "m", digits: 2, state: "0.93"})
	b.add(spec{id: "button", name: "Connect", state: "unknown", category: "config"})
	b.device("Printer", "Brother", "HL-L2350DW", "brother")
	b.add(spec{id: "sensor", name: "Status", state: "sleep mode", icon: "mdi:printer"})
	b.add(spec{id: "sensor", name: "Black toner remaining", unit: "%", state: "37", icon: "mdi:printer-3d-nozzle", category: "diagnostic", attrs: attrs{"state_class": "measurement"}})
	b.add(spec{id: "sensor", name: "Page counter", unit: "p", state: "4183", category: "diagnostic", hidden: true, attrs: attrs{"state_class": "total_increasing"}})
	b.device("Remote", "Logitech", "Harmony Hub", "harmony")
	b.add(spec{id: "remote", state: "off", attrs: attrs{"current_activity": "PowerOff", "activity_list": []string{"Watch TV", "Play music"}, "supported_features": 4}})
}
