// Package hass speaks Home Assistant's WebSocket API.
package hass
