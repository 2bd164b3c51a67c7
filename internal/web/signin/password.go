package signin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/concord-home/concord"
)

// Parameters of new hashes: OWASP's first recommendation for argon2id. One
// hash takes 19 MiB and about 30 ms of one core.
const (
	hashMemory  = 19 * 1024 // KiB
	hashTime    = 2
	hashThreads = 1
	hashSalt    = 16 // bytes
	hashKey     = 32 // bytes
)

// Limits on stored hashes, so that a row cannot order the server to use a
// gigabyte, and on passwords.
const (
	maxMemory   = 256 * 1024 // KiB
	maxTime     = 16
	maxPassword = 1024 // bytes
)

// waitingPerWorker is how many callers may queue for each worker of a [Hasher]:
// at 30 ms each the last one waits about half a second.
const waitingPerWorker = 16

// ErrBadHash says that a stored hash cannot be read.
var ErrBadHash = errors.New("password hash is not argon2id in PHC form")

// Hasher makes and checks argon2id hashes. It runs few at once, because each
// takes memory and a core: a flood of sign-ins must not starve the pages.
type Hasher struct {
	waiting chan struct{}
	running chan struct{}
}

// NewHasher returns a Hasher that runs at most parallel hashes at once; further
// callers wait, and beyond 16 times as many they are turned away.
func NewHasher(parallel int) *Hasher {
	parallel = max(parallel, 1)
	return &Hasher{
		waiting: make(chan struct{}, parallel*(1+waitingPerWorker)),
		running: make(chan struct{}, parallel),
	}
}

// Hash returns the hash of password in PHC form. Errors: CodeInvalid for an
// empty or over-long password, CodeTooMany, or the context's.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if password == "" || len(password) > maxPassword {
		return "", concord.Errorf(concord.CodeInvalid, "A password has 1 to %d bytes", maxPassword)
	}
	salt := make([]byte, hashSalt)
	rand.Read(salt) // never fails: crypto/rand ends the process instead
	p := phc{memory: hashMemory, time: hashTime, threads: hashThreads, salt: salt, key: make([]byte, hashKey)}
	key, err := h.derive(ctx, password, p)
	if err != nil {
		return "", err
	}
	p.key = key
	return p.String(), nil
}

// Verify reports whether password belongs to hash. Errors: ErrBadHash,
// CodeTooMany, or the context's.
func (h *Hasher) Verify(ctx context.Context, password, hash string) (bool, error) {
	p, err := parsePHC(hash)
	if err != nil {
		return false, err
	}
	if len(password) > maxPassword {
		return false, nil
	}
	key, err := h.derive(ctx, password, p)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(key, p.key) == 1, nil
}

func (h *Hasher) derive(ctx context.Context, password string, p phc) ([]byte, error) {
	select {
	case h.waiting <- struct{}{}:
		defer func() { <-h.waiting }()
	default:
		return nil, concord.Errorf(concord.CodeTooMany, "Too many people sign in at this moment, please try again")
	}
	select {
	case h.running <- struct{}{}:
		defer func() { <-h.running }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a password check: %w", ctx.Err())
	}
	return argon2.IDKey([]byte(password), p.salt, p.time, p.memory, p.threads, uint32(len(p.key))), nil
}

// phc is a hash in the form that the password hashing competition settled on:
// $argon2id$v=19$m=19456,t=2,p=1$salt$key, base64 without padding.
type phc struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

func (p phc) String() string {
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads,
		b.EncodeToString(p.salt), b.EncodeToString(p.key))
}

func parsePHC(s string) (phc, error) {
	var p phc
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, ErrBadHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads); err != nil {
		return p, ErrBadHash
	}
	var err1, err2 error
	p.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	p.key, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || !p.sane() {
		return p, ErrBadHash
	}
	return p, nil
}

func (p phc) sane() bool {
	return p.memory >= 8*uint32(p.threads) && p.memory <= maxMemory && p.time >= 1 && p.time <= maxTime &&
		p.threads >= 1 && len(p.salt) >= 8 && len(p.salt) <= 64 && len(p.key) >= 16 && len(p.key) <= 64
}
