#!/usr/bin/env python3
"""Writes the icon and state-text tables of Home Assistant's own integrations.

The tables are facts of Home Assistant 2025.4.4 (Apache-2.0): which icon stands
for a domain, device class and state (icons.json), and how a state is called in
each language (translations). Usage:

    pip download --no-deps --python-version 3.13 --only-binary=:all: homeassistant==2025.4.4
    ./facts.py homeassistant-2025.4.4-py3-none-any.whl
"""
import json
import pathlib
import sys
import zipfile

DOMAINS = """light switch binary_sensor sensor cover climate fan lock media_player scene script button
input_button number input_number select input_select vacuum humidifier valve alarm_control_panel text
input_text siren timer counter automation person device_tracker weather camera update remote
water_heater lawn_mower event date time datetime todo calendar image sun zone input_boolean
input_datetime group""".split()
ATTRIBUTES = {
    "climate": ("hvac_action", "preset_mode", "fan_mode", "swing_mode"),
    "humidifier": ("action", "mode"),
    "fan": ("direction",),
}
LANGUAGES = ("en", "zh-Hant", "ru")
HERE = pathlib.Path(__file__).parent


def component(wheel, domain, name):
    try:
        text = wheel.read(f"homeassistant/components/{domain}/{name}.json")
    except KeyError:
        return {}
    return json.loads(text).get("entity_component") or {}


def icons(wheel):
    """{domain: {device class or "_": [default, {state: icon}]}}"""
    table = {}
    for domain in DOMAINS:
        for cls, entry in component(wheel, domain, "icons").items():
            states = {s: i.removeprefix("mdi:") for s, i in entry.get("state", {}).items()}
            default = entry.get("default", "").removeprefix("mdi:")
            table.setdefault(domain, {})[cls] = [default, states] if states else [default]
    return table


def platforms(wheel):
    """{integration: {domain: {translation key: [default, {state: icon}]}}}"""
    table = {}
    for path in wheel.namelist():
        parts = path.split("/")
        if len(parts) != 4 or parts[3] != "icons.json":
            continue
        for domain, keys in (json.loads(wheel.read(path)).get("entity") or {}).items():
            for key, entry in keys.items():
                states = {s: i.removeprefix("mdi:") for s, i in entry.get("state", {}).items()}
                default = entry.get("default", "").removeprefix("mdi:")
                table.setdefault(parts[2], {}).setdefault(domain, {})[key] = [default, states] if states else [default]
    return table


def texts(wheel, language):
    """{"domain" or "domain.class" or "domain:attribute": {state: text}}"""
    table = {}
    for domain in DOMAINS:
        for cls, entry in component(wheel, domain, f"translations/{language}").items():
            key = domain if cls == "_" else f"{domain}.{cls}"
            if entry.get("state"):
                table[key] = entry["state"]
            for attribute in ATTRIBUTES.get(domain, ()) if cls == "_" else ():
                values = entry.get("state_attributes", {}).get(attribute, {}).get("state")
                if values:
                    table[f"{domain}:{attribute}"] = values
            if entry.get("name") and cls != "_" and domain in ("sensor", "binary_sensor"):
                table.setdefault("name", {})[f"{domain}.{cls}"] = entry["name"]
    return table


def write(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n")


def main():
    wheel = zipfile.ZipFile(sys.argv[1])
    write(HERE / "facts" / "icons.json", icons(wheel))
    write(HERE / "facts" / "platforms.json", platforms(wheel))
    for language in LANGUAGES:
        write(HERE / "facts" / f"states.{language}.json", texts(wheel, language))


main()
