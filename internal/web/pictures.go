package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/concord-home/concord"
)

// maxPicture is the largest picture that is handed on.
const maxPicture = 16 << 20

// picturePaths are what a home serves pictures at. An entity_picture elsewhere
// is not fetched: an integration must not choose what Concord asks for.
var picturePaths = []string{"/api/camera_proxy/", "/api/image_proxy/", "/api/media_player_proxy/", "/api/image/serve/", "/local/"}

var pictureTypes = map[string]bool{"image/jpeg": true, "image/jpg": true, "image/png": true, "image/webp": true, "image/gif": true, "image/svg+xml": true, "image/avif": true}

// pictures fetches from homes. Redirects are not followed: they could lead anywhere.
var pictures = &http.Client{
	Timeout:       15 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// picture answers with an entity's picture as it is now, fetched from the home
// with the short-lived key that the entity's own state carries.
func (s *Server) picture(w http.ResponseWriter, r *http.Request) error {
	home, err := s.restHome(r)
	if err != nil {
		return err
	}
	source, err := pictureURL(home.URL, s.Live.State(home.ID, r.PathValue("entity_id")))
	if err != nil {
		return err
	}
	resp, err := fetchPicture(r.Context(), source)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	h := w.Header()
	h.Set("Content-Type", resp.Header.Get("Content-Type"))
	h.Set("Cache-Control", "private, no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
	if resp.ContentLength >= 0 {
		h.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	_, err = io.Copy(w, io.LimitReader(resp.Body, maxPicture))
	return err
}

// pictureURL is where the home at the WebSocket address serves the entity's
// picture. The error is CodeNotFound.
func pictureURL(homeURL string, st *concord.State) (string, error) {
	none := concord.Errorf(concord.CodeNotFound, "This entity has no picture")
	if st == nil {
		return "", none
	}
	var a struct {
		Picture string `json:"entity_picture"`
	}
	if json.Unmarshal(st.Attributes, &a) != nil || a.Picture == "" {
		return "", none
	}
	base, err := url.Parse(homeURL)
	if err != nil {
		return "", fmt.Errorf("read the home's address: %w", err)
	}
	ref, err := url.Parse(a.Picture)
	if err != nil || ref.IsAbs() || ref.Host != "" || !isPicturePath(ref) {
		return "", none
	}
	base.Scheme = strings.Replace(base.Scheme, "ws", "http", 1)
	base.Path = strings.TrimSuffix(base.Path, "/api/websocket") + ref.Path
	base.RawQuery, base.User = ref.RawQuery, nil
	return base.String(), nil
}

func isPicturePath(ref *url.URL) bool {
	for _, prefix := range picturePaths {
		if strings.HasPrefix(ref.Path, prefix) && path.Clean(ref.Path) == ref.Path {
			return true
		}
	}
	return false
}

// fetchPicture returns an answer that is a picture; the caller closes its body.
// Its errors do not hold the address, which carries the entity's key.
func fetchPicture(ctx context.Context, source string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, source, nil)
	if err != nil {
		return nil, concord.Errorf(concord.CodeNotFound, "This entity has no picture")
	}
	resp, err := pictures.Do(req)
	if err != nil {
		if e, ok := err.(*url.Error); ok { //nolint:errorlint // Do's own outermost error, whose text has the address
			err = e.Err
		}
		return nil, &concord.Error{Code: concord.CodeUnavailable, Message: "The home did not send the picture", Err: err}
	}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if resp.StatusCode != http.StatusOK || !pictureTypes[strings.TrimSpace(kind)] || resp.ContentLength > maxPicture {
		resp.Body.Close()
		return nil, concord.Errorf(concord.CodeUnavailable, "The home did not send the picture (%s)", resp.Status)
	}
	return resp, nil
}
