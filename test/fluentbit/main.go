// Command fluentbit stands in for Fluent Bit where its image cannot be had: it reads the Fluent Bit configuration that it
// is given, sends the lines of the tailed file once over the forward protocol (v1, with the handshake of a shared key and
// an acknowledgement for every chunk), and ends. It shows that the configuration fits the source, not what Fluent Bit does.
package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"
)

const (
	// chunkBytes is when a chunk is sent: Fluent Bit's chunks have about 2 MB.
	chunkBytes = 2 << 20
	// maxLine is the longest line that is read, 16 MiB: buffer_max_size of the configuration.
	maxLine = 16 << 20
	// maxAnswer is the longest text of an answer, in bytes.
	maxAnswer = 1 << 10
	// answerTime is how long an acknowledgement may take.
	answerTime = 60 * time.Second
)

// config is the part of a Fluent Bit configuration that is honoured.
type config struct {
	Pipeline struct {
		Inputs []struct {
			Name, Tag, Path, Key string
		}
		Outputs []struct {
			Name, Match, Host string
			Port              int
			SharedKey         string `yaml:"shared_key"`
			SelfHostname      string `yaml:"self_hostname"`
			RequireAck        bool   `yaml:"require_ack_response"`
		}
	}
}

func main() {
	path := flag.String("c", "", "the Fluent Bit configuration (YAML)")
	flag.Parse()
	lines, chunks, err := run(*path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fluentbit:", err)
		os.Exit(1)
	}
	fmt.Printf("%d lines in %d chunks sent and acknowledged\n", lines, chunks)
}

func run(path string) (lines, chunks int, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	var cfg config
	if err := yaml.Unmarshal(data, &cfg); err != nil {
		return 0, 0, err
	}
	if len(cfg.Pipeline.Inputs) != 1 || len(cfg.Pipeline.Outputs) != 1 {
		return 0, 0, fmt.Errorf("%s: expected one input and one output", path)
	}
	in, out := cfg.Pipeline.Inputs[0], cfg.Pipeline.Outputs[0]
	if in.Name != "tail" || out.Name != "forward" || !out.RequireAck {
		return 0, 0, fmt.Errorf("%s: expected input tail and output forward with require_ack_response", path)
	}
	file, err := os.Open(in.Path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = file.Close() }()
	conn, err := net.Dial("tcp", net.JoinHostPort(out.Host, strconv.Itoa(out.Port)))
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = conn.Close() }()
	s := &sender{conn: conn, r: &reader{r: bufio.NewReader(conn)}, tag: in.Tag, key: in.Key}
	if s.key == "" {
		s.key = "log"
	}
	if out.SharedKey != "" {
		if err := s.greet(out.SelfHostname, out.SharedKey); err != nil {
			return 0, 0, fmt.Errorf("handshake: %w", err)
		}
	}
	scan := bufio.NewScanner(file)
	scan.Buffer(make([]byte, 1<<20), maxLine)
	for scan.Scan() {
		s.add(scan.Bytes())
		if len(s.entries) >= chunkBytes {
			if err := s.flush(); err != nil {
				return 0, 0, err
			}
		}
	}
	if err := errors.Join(scan.Err(), s.flush()); err != nil {
		return 0, 0, err
	}
	return s.lines, s.chunks, nil
}

// sender is one connection of the forward protocol, version 1.
type sender struct {
	conn          net.Conn
	r             *reader
	tag, key      string
	entries       []byte
	pending       int
	lines, chunks int
}

// greet answers HELO with PING and reads PONG.
func (s *sender) greet(host, shared string) error {
	helo, err := s.read()
	if err != nil {
		return err
	}
	if len(helo) != 2 || helo[0] != "HELO" {
		return fmt.Errorf("expected HELO, got %v", helo)
	}
	options, _ := helo[1].(map[string]any)
	nonce, _ := options["nonce"].(string)
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	sum := sha512.Sum512([]byte(string(salt) + host + nonce + shared))
	ping := []byte{0x96}
	for _, text := range []string{"PING", host, string(salt), hex.EncodeToString(sum[:]), "", ""} {
		ping = appendText(ping, text)
	}
	if _, err := s.conn.Write(ping); err != nil {
		return err
	}
	pong, err := s.read()
	if err != nil {
		return err
	}
	if len(pong) != 5 || pong[0] != "PONG" || pong[1] != true {
		return fmt.Errorf("expected to be let in, got %v", pong)
	}
	return nil
}

// add appends [[EventTime, {}], {key: line}], the form of Fluent Bit since 2.1.
func (s *sender) add(line []byte) {
	now := time.Now()
	s.entries = append(s.entries, 0x92, 0x92, 0xd7, 0x00)
	s.entries = appendUint32(s.entries, uint32(now.Unix()))
	s.entries = appendUint32(s.entries, uint32(now.Nanosecond()))
	s.entries = append(s.entries, 0x80, 0x81)
	s.entries = appendText(s.entries, s.key)
	s.entries = appendText(s.entries, string(line))
	s.pending++
}

// flush sends the entries as one chunk and waits for its acknowledgement.
func (s *sender) flush() error {
	if s.pending == 0 {
		return nil
	}
	id := fmt.Sprintf("%032x", s.chunks)
	msg := appendText([]byte{0x93}, s.tag)
	msg = append(msg, 0xc6)
	msg = appendUint32(msg, uint32(len(s.entries)))
	msg = append(msg, s.entries...)
	msg = append(msg, 0x82)
	msg = appendText(msg, "chunk")
	msg = appendText(msg, id)
	msg = appendText(msg, "size")
	msg = append(msg, 0xce)
	msg = appendUint32(msg, uint32(s.pending))
	if _, err := s.conn.Write(msg); err != nil {
		return err
	}
	answer, err := s.read()
	if err != nil {
		return fmt.Errorf("chunk %d: %w", s.chunks, err)
	}
	if ack, _ := answer[0].(map[string]any); ack["ack"] != id {
		return fmt.Errorf("chunk %d: expected its acknowledgement, got %v", s.chunks, answer)
	}
	s.lines += s.pending
	s.chunks++
	s.entries, s.pending = s.entries[:0], 0
	return nil
}

// read returns the members of the next array, or the next other value as the only one.
func (s *sender) read() ([]any, error) {
	if err := s.conn.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return nil, err
	}
	v, err := s.r.value(0)
	if err != nil {
		return nil, err
	}
	if list, ok := v.([]any); ok {
		return list, nil
	}
	return []any{v}, nil
}

func appendUint32(dst []byte, n uint32) []byte {
	return append(dst, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func appendText(dst []byte, text string) []byte {
	if len(text) < 32 {
		return append(append(dst, 0xa0|byte(len(text))), text...)
	}
	return append(appendUint32(append(dst, 0xdb), uint32(len(text))), text...)
}

// reader reads the few forms of MessagePack that a server of the forward protocol answers with.
type reader struct{ r io.Reader }

func (r *reader) value(depth int) (any, error) {
	if depth > 8 {
		return nil, errors.New("nested too deeply")
	}
	kind, err := r.number(1)
	if err != nil {
		return nil, err
	}
	switch {
	case kind < 0x80:
		return kind, nil
	case kind < 0x90:
		return r.pairs(kind&0x0f, depth)
	case kind < 0xa0:
		return r.members(kind&0x0f, depth)
	case kind < 0xc0:
		return r.text(kind & 0x1f)
	case kind == 0xc0:
		return nil, nil
	case kind == 0xc2, kind == 0xc3:
		return kind == 0xc3, nil
	case kind == 0xc4, kind == 0xd9:
		return r.sized(1)
	case kind == 0xc5, kind == 0xda:
		return r.sized(2)
	case kind == 0xc6, kind == 0xdb:
		return r.sized(4)
	}
	return nil, fmt.Errorf("expected a text, flag, list or map, got the byte %#x", kind)
}

func (r *reader) number(bytes int) (n int, err error) {
	var b [4]byte
	if _, err := io.ReadFull(r.r, b[:bytes]); err != nil {
		return 0, err
	}
	for _, c := range b[:bytes] {
		n = n<<8 | int(c)
	}
	return n, nil
}

func (r *reader) sized(bytes int) (any, error) {
	n, err := r.number(bytes)
	if err != nil {
		return nil, err
	}
	return r.text(n)
}

func (r *reader) text(n int) (any, error) {
	if n > maxAnswer {
		return nil, fmt.Errorf("expected an answer of at most %d bytes, got a text of %d", maxAnswer, n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r.r, b)
	return string(b), err
}

func (r *reader) members(n, depth int) (any, error) {
	list := make([]any, n)
	var err error
	for i := 0; i < n && err == nil; i++ {
		list[i], err = r.value(depth + 1)
	}
	return list, err
}

func (r *reader) pairs(n, depth int) (any, error) {
	m := make(map[string]any, n)
	for range n {
		key, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		if m[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return m, nil
}
