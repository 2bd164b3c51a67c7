package main

import "context"

type batchResult struct{}

func (r *report) batches(ctx context.Context, o options) error { return nil }
