package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/concord-home/concord/hass/simhome"
)

type simhomeCmd struct {
	Listen   string  `default:"127.0.0.1:8124" help:"Address to listen on."`
	Token    string  `default:"simhome" help:"Token that clients must show."`
	Entities int     `default:"0" help:"How many entities; 0 is a family house of about 200."`
	Areas    int     `default:"0" help:"How many areas; 0 is the house's own."`
	Devices  int     `default:"0" help:"How many devices; 0 is what the entities need."`
	Floors   int     `default:"0" help:"How many floors; 0 is the house's own."`
	Rate     float64 `default:"2" help:"State changes a second."`
	Seed     int64   `default:"1" help:"Makes the house and its noise repeatable."`
}

// Run serves the simulated home until the process is told to stop.
func (c *simhomeCmd) Run(ctx context.Context) error {
	home, err := simhome.New(simhome.Options{
		Entities: c.Entities, Areas: c.Areas, Devices: c.Devices, Floors: c.Floors, Rate: c.Rate, Token: c.Token, Seed: c.Seed,
	})
	if err != nil {
		return err
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return err
	}
	fmt.Printf("HA_URL=ws://%s/api/websocket\nHA_TOKEN=%s\n", listener.Addr(), home.Token())
	server := &http.Server{Handler: home, ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = home.Run(ctx) // returns with ctx
		home.Close()
		server.Close()
	})
	err = server.Serve(listener)
	wg.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
