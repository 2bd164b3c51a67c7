module github.com/concord-home/concord/hass

go 1.26.0

require github.com/coder/websocket v1.8.15

require (
	github.com/stretchr/testify v1.12.1
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)
