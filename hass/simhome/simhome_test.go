package simhome_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass/simhome"
)

func newHome(t *testing.T, o simhome.Options) *simhome.Home {
	t.Helper()
	h, err := simhome.New(o)
	require.NoError(t, err)
	t.Cleanup(h.Close)
	return h
}

func TestFamilyHouseFeelsReal(t *testing.T) {
	t.Parallel()
	states := newHome(t, simhome.Options{}).States()
	var domains []string
	unavailable := 0
	for _, s := range states {
		domain, _, _ := strings.Cut(s.EntityID, ".")
		domains = append(domains, domain)
		require.True(t, json.Valid(s.Attributes), s.EntityID)
		if s.State == "unavailable" {
			unavailable++
		}
	}
	slices.Sort(domains)
	domains = slices.Compact(domains)
	t.Log(len(states), "entities in", len(domains), "domains:", domains)
	require.Greater(t, len(states), 180)
	require.Greater(t, len(domains), 30)
	require.Greater(t, unavailable, 1)
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 10, 100, 1000, 20_000} {
		h := newHome(t, simhome.Options{Entities: size, Areas: 6, Devices: max(1, size/10), Floors: 2})
		require.Len(t, h.States(), size)
	}
}

func TestSameSeedSameHouse(t *testing.T) {
	t.Parallel()
	a, b := newHome(t, simhome.Options{Seed: 7, Entities: 500}), newHome(t, simhome.Options{Seed: 7, Entities: 500})
	ids := func(h *simhome.Home) (l []string) {
		for _, s := range h.States() {
			l = append(l, s.EntityID)
		}
		return l
	}
	require.Equal(t, ids(a), ids(b))
}
