package forward

import (
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// The handshake of the forward protocol, version 1: the server sends HELO with a nonce and, if it asks for a user, a
// salt; the client proves with PING that it knows the shared key (and a password); the server proves with PONG that it
// knows the key too. Digests are SHA-512 in lower-case hex.

// challenge is what one HELO asks.
type challenge struct {
	nonce [16]byte
	// salt is the salt of the user's password, nil where no user is asked for.
	salt []byte
}

// randomText reads random bytes as 64 different characters of ASCII: six bits each, which makes 96 of a nonce.
type randomText struct{ bytes io.Reader }

// Read implements [io.Reader].
func (r randomText) Read(b []byte) (int, error) {
	const characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	n, err := r.bytes.Read(b)
	for i := range b[:n] {
		b[i] = characters[b[i]&63]
	}
	return n, err
}

// newChallenge makes a challenge out of what random gives.
func newChallenge(random io.Reader, users []User) (c challenge, err error) {
	if _, err = io.ReadFull(random, c.nonce[:]); err == nil && len(users) > 0 {
		c.salt = make([]byte, 16)
		_, err = io.ReadFull(random, c.salt)
	}
	return c, err
}

// appendHelo appends HELO: ["HELO", {"nonce", "auth", "keepalive"}]. Nonce and salt are a str, as in the specification, and
// text, since a client in JavaScript or Python makes text of a str before it computes the digest.
func (c *challenge) appendHelo(dst []byte) []byte {
	dst = append(dst, 0x92)
	dst = appendStr(dst, "HELO")
	dst = append(dst, 0x83)
	dst = appendStr(dst, "nonce")
	dst = appendStr(dst, string(c.nonce[:]))
	dst = appendStr(dst, "auth")
	dst = appendStr(dst, string(c.salt))
	dst = appendStr(dst, "keepalive")
	return append(dst, 0xc3)
}

// ping is what a client answers. Its bytes are those it was read from.
type ping struct {
	hostname, salt, digest, user, password []byte
}

// parsePing reads the message b that f has framed.
func parsePing(b []byte, f *frame) (ping, error) {
	if f.kind != frameMessagePack || f.n != 6 {
		return ping{}, errNoPing
	}
	var parts [6][]byte
	for i := range parts {
		p, _, ok := readBytes(b[f.elems[i]:])
		if !ok {
			return ping{}, errNoPing
		}
		parts[i] = p
	}
	if string(parts[0]) != "PING" {
		return ping{}, errNoPing
	}
	return ping{parts[1], parts[2], parts[3], parts[4], parts[5]}, nil
}

var errNoPing = errors.New("expected a PING of six strings in answer to HELO, got something else: the sender needs the shared key (Fluent Bit: Shared_Key, fluentd: <security> shared_key)")

// check returns why p is refused, or nil. The reason goes to the client too, so it doesn't tell a wrong user from a
// wrong password.
func (c *challenge) check(p ping, cfg *Config) error {
	want := digest(p.salt, p.hostname, c.nonce[:], []byte(cfg.SharedKey))
	if subtle.ConstantTimeCompare([]byte(want), p.digest) != 1 {
		return errors.New("shared_key mismatch")
	}
	if len(cfg.Users) == 0 {
		return nil
	}
	known := 0
	for _, u := range cfg.Users {
		// Every account is tried, so that time doesn't tell which names exist.
		right := digest(c.salt, []byte(u.Name), []byte(u.Password))
		known |= subtle.ConstantTimeCompare([]byte(u.Name), p.user) & subtle.ConstantTimeCompare([]byte(right), p.password)
	}
	if known != 1 {
		return errors.New("username/password mismatch")
	}
	return nil
}

// appendPong appends PONG: ["PONG", ok, reason, hostname, digest].
func (c *challenge) appendPong(dst []byte, p ping, hostname, sharedKey string, refused error) []byte {
	dst = append(dst, 0x95)
	dst = appendStr(dst, "PONG")
	if refused != nil {
		dst = append(dst, 0xc2)
		dst = appendStr(dst, refused.Error())
		dst = appendStr(dst, "")
		return appendStr(dst, "")
	}
	dst = append(dst, 0xc3)
	dst = appendStr(dst, "")
	dst = appendStr(dst, hostname)
	return appendStr(dst, digest(p.salt, []byte(hostname), c.nonce[:], []byte(sharedKey)))
}

func digest(parts ...[]byte) string {
	h := sha512.New()
	for _, p := range parts {
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// appendStr appends s, of at most 65,535 bytes, as a str. str8 came into MessagePack later than str16 and old decoders
// don't know it, so what does not fit a fixstr is a str16.
func appendStr(dst []byte, s string) []byte {
	if len(s) < 32 {
		dst = append(dst, 0xa0|byte(len(s)))
	} else {
		dst = append(dst, 0xda, byte(len(s)>>8), byte(len(s)))
	}
	return append(dst, s...)
}

// appendAck appends the answer to a chunk, whose id is echoed as the value it came as.
func appendAck(dst, chunk []byte) []byte {
	dst = append(dst, 0x81)
	dst = appendStr(dst, "ack")
	return append(dst, chunk...)
}

// refusal is a handshake that failed.
type refusal struct {
	reason   error
	hostname string
	user     string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the handshake of %.64q (user %.64q) is refused: %v", r.hostname, r.user, r.reason)
}
func (r *refusal) Unwrap() error { return r.reason }
