//go:build !linux

package faulttest

import "errors"

func mountMemory(string, int64) error { return errors.ErrUnsupported }

func mountImage(string, string, int64) error { return errors.ErrUnsupported }

func unmount(string) error { return nil }

func fillUp(string, string) error { return errors.ErrUnsupported }

func freeze(string) (func() error, error) { return nil, errors.ErrUnsupported }
