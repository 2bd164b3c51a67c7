package hass

import (
	"context"
	"encoding/json"
	"fmt"
)

// RenderTemplate has the home render a template once. The result is text, or
// any other JSON value when the template makes one. A template error is a
// *CommandError with CodeTemplate.
func (c *Client) RenderTemplate(ctx context.Context, template string) (json.RawMessage, error) {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn == nil {
		return nil, ErrNotConnected
	}
	cmd, err := encodeCommand(Command{"type": "render_template", "template": template, "report_errors": true})
	if err != nil {
		return nil, err
	}
	events := make(chan Event, 1)
	s := &Subscription{client: c, cmd: cmd, handler: func(e Event) {
		select {
		case events <- e:
		default: // only the first counts
		}
	}}
	ch, err := conn.start(s.cmd, func(id int64) { conn.active[id] = &activeSub{Subscription: s} })
	if err != nil {
		return nil, err
	}
	defer conn.unsubscribe(s)
	return conn.rendered(ctx, ch, events)
}

// rendered waits for the first event; it may come before the command's result,
// and never when the result is an error.
func (c *Conn) rendered(ctx context.Context, ch chan answer, events chan Event) (json.RawMessage, error) {
	for {
		select {
		case e := <-events:
			return renderedText(e.Raw)
		case a := <-ch:
			if _, err := c.result(a, nil); err != nil {
				return nil, err
			}
			ch = nil
		case <-c.ctx.Done():
			return nil, ErrConnectionLost
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func renderedText(raw json.RawMessage) (json.RawMessage, error) {
	var r struct {
		Result json.RawMessage `json:"result"`
		Error  string          `json:"error"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("read rendered template: %w", err)
	}
	if r.Error != "" {
		return nil, &CommandError{Code: CodeTemplate, Message: r.Error}
	}
	return r.Result, nil
}
