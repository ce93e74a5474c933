package natsconn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// streamAge is how long a stream that we make keeps its messages.
	streamAge = 7 * 24 * time.Hour
	// streamDuplicates is the window in which a stream that we make drops a message whose id it knows. Replays after a
	// crash come sooner.
	streamDuplicates = 10 * time.Minute
)

// RequestTimeout bounds one question to JetStream.
const RequestTimeout = 5 * time.Second

// StreamWanted is the stream that an adapter works with.
type StreamWanted struct {
	// Name is the stream's name; "" looks for the one that takes the subjects.
	Name string
	// Subjects, with wildcards, are those that the stream must take, all of them or at least in part.
	Subjects []string
	// SubjectsKey names where the subjects are configured, for errors.
	SubjectsKey string
}

// Stream finds the stream. The error names the key to look at.
func (c *Conn) Stream(ctx context.Context, want StreamWanted) (*jetstream.StreamInfo, error) {
	name := want.Name
	if name == "" {
		var err error
		if name, err = c.streamOf(ctx, want); err != nil {
			return nil, err
		}
	}
	var stream jetstream.Stream
	err := c.Ask(ctx, func(ctx context.Context) (err error) {
		stream, err = c.JetStream.Stream(ctx, name)
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, &Advised{
			NewFault("stream", "the server has no stream %q: %w", name, err),
			"create it, check stream and the account of the credentials, or set create: true",
		}
	}
	if err != nil {
		return nil, c.Explain(NewFault("stream", "cannot look up stream %q: %w", name, err))
	}
	info := stream.CachedInfo()
	for _, s := range want.Subjects {
		if !slices.ContainsFunc(subjectsOf(info), func(has string) bool { return Overlaps(has, s) }) {
			return nil, &Advised{
				NewFault(want.SubjectsKey, "stream %q does not take %q, only %s", name, s, strings.Join(subjectsOf(info), ", ")),
				"add the subject to the stream, or check stream and " + want.SubjectsKey,
			}
		}
	}
	return info, nil
}

// subjectsOf lists what a stream takes; one that mirrors or gathers other streams may hold anything.
func subjectsOf(info *jetstream.StreamInfo) []string {
	if info.Config.Mirror != nil || len(info.Config.Sources) > 0 {
		return []string{">"}
	}
	return info.Config.Subjects
}

// streamOf finds the one stream that takes all subjects.
func (c *Conn) streamOf(ctx context.Context, want StreamWanted) (string, error) {
	found := ""
	for _, s := range want.Subjects {
		var name string
		err := c.Ask(ctx, func(ctx context.Context) (err error) {
			name, err = c.JetStream.StreamNameBySubject(ctx, s)
			return err
		})
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return "", &Advised{
				NewFault(want.SubjectsKey, "no stream takes %q: %w", s, err),
				"create one that does, check " + want.SubjectsKey + " and the account of the credentials, or set stream and create: true",
			}
		}
		if err != nil {
			return "", c.Explain(NewFault(want.SubjectsKey, "cannot look for the stream of %q: %w", s, err))
		}
		if found != "" && found != name {
			return "", NewFault(want.SubjectsKey, "expected all subjects in one stream, but %q is in %q and %q in %q: use one source for each stream", want.Subjects[0], found, s, name)
		}
		found = name
	}
	return found, nil
}

// MakeStream finds the stream, or makes it: on disk, one replica, messages kept for 7 days, repeats dropped within ten
// minutes. A stream that is there already is taken as it is.
func (c *Conn) MakeStream(ctx context.Context, want StreamWanted) (*jetstream.StreamInfo, error) {
	info, err := c.Stream(ctx, want)
	if !errors.Is(err, jetstream.ErrStreamNotFound) || want.Name == "" {
		return info, err
	}
	var stream jetstream.Stream
	err = c.Ask(ctx, func(ctx context.Context) (err error) {
		stream, err = c.JetStream.CreateStream(ctx, jetstream.StreamConfig{
			Name:        want.Name,
			Description: "made by spawnwatch",
			Subjects:    want.Subjects,
			Storage:     jetstream.FileStorage,
			Retention:   jetstream.LimitsPolicy,
			Discard:     jetstream.DiscardOld,
			MaxAge:      streamAge,
			Duplicates:  streamDuplicates,
		})
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another instance was quicker
		return c.Stream(ctx, want)
	}
	if err != nil {
		return nil, c.Explain(NewFault("stream", "cannot create stream %q for %s: %w", want.Name, strings.Join(want.Subjects, ", "), err))
	}
	return stream.CachedInfo(), nil
}

// CheckJetStream asks whether the account may use JetStream at all.
func (c *Conn) CheckJetStream(ctx context.Context) error {
	err := c.Ask(ctx, func(ctx context.Context) error {
		_, err := c.JetStream.AccountInfo(ctx)
		return err
	})
	if err != nil {
		return c.Explain(fmt.Errorf("cannot use JetStream at %s: %w", c.access.hosts(), err))
	}
	return nil
}
