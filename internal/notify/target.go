package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nicholas-fedor/shoutrrr"
	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/slack"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// sendTimeout bounds one attempt; some of the library's services have no limit
// of their own.
const sendTimeout = 20 * time.Second

// waits are the pauses between attempts to deliver.
var waits = []time.Duration{time.Second, 5 * time.Second}

var errTimeout = fmt.Errorf("no answer in %v", sendTimeout)

// target is somebody to tell.
type target interface {
	service() string // a word for logs and metrics, never a secret
	send(ctx context.Context, m message) error
}

// newTarget returns an error that does not repeat the address.
func newTarget(address string) (target, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		return nil, errors.New("not an address with a scheme, such as https:// or telegram://")
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		if u.Host == "" {
			return nil, errors.New("the webhook's address has no host")
		}
		return webhook(address), nil
	}
	sender, err := shoutrrr.CreateSender(address)
	if err != nil { // it repeats the address
		return nil, fmt.Errorf("%q is not a service that shoutrrr knows, or its address is not complete", u.Scheme)
	}
	name, _, _ := strings.Cut(u.Scheme, "+")
	return &shout{name: name, sender: sender}, nil
}

// deliver tries until the message is taken, the attempts are used up or ctx ends.
func deliver(ctx context.Context, t target, m message) error {
	for i := 0; ; i++ {
		err := attempt(ctx, t, m)
		if err == nil || i == len(waits) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(waits[i]):
		}
	}
}

// attempt leaves a call behind that does not come back.
func attempt(ctx context.Context, t target, m message) error {
	ctx, cancel := context.WithTimeoutCause(ctx, sendTimeout, errTimeout)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- t.send(ctx, m) }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// webhook is an address that takes Slack's messages: Slack itself, Mattermost,
// Rocket.Chat and others.
type webhook string

func (webhook) service() string { return "webhook" }

func (w webhook) send(ctx context.Context, m message) error {
	config := slack.Config{Title: m.title, Color: m.color, Channel: "webhook"}
	body, err := json.Marshal(slack.CreateJSONPayload(&config, m.text))
	if err != nil {
		return fmt.Errorf("encode the message: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, string(w), bytes.NewReader(body))
	if err != nil {
		return errors.New("the webhook's address cannot be used")
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return withoutAddress(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the webhook answers %s", resp.Status)
	}
	return nil
}

// withoutAddress drops the address, which is a secret, from the error.
func withoutAddress(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("the webhook cannot be reached: %w", e.Err)
	}
	return errors.New("the webhook cannot be reached")
}

// shout is a service of the library.
type shout struct {
	name   string
	sender *router.ServiceRouter
}

func (s *shout) service() string { return s.name }

// untitled are the services that take no title: it becomes the first line.
var untitled = map[string]bool{
	"googlechat": true, "hangouts": true, "rocketchat": true, "signal": true, "wecom": true, "pagerduty": true, "notifiarr": true, "logger": true,
}

var errRefused = errors.New("the service cannot be reached or refused the message")

// send hides the library's errors: they repeat addresses with their secrets.
func (s *shout) send(_ context.Context, m message) error {
	params, text := types.Params{"title": m.title}, m.text
	if untitled[s.name] {
		params, text = types.Params{}, m.title+"\n"+m.text
	}
	if s.name == "slack" || s.name == "generic" {
		params["color"] = m.color
	}
	for _, err := range s.sender.Send(text, &params) {
		if err != nil {
			return errRefused
		}
	}
	return nil
}
