package main

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/sinks"
	sourcekafka "github.com/spawnwatch/spawnwatch/sources/kafka"
)

// configuredFeed reads what a sink of a configuration publishes.
func (o *tailOptions) configuredFeed(logger *slog.Logger) (*feed, error) {
	cfg, err := readConfig(o.config)
	if err != nil {
		return nil, &exitError{code: exitConfig, err: err}
	}
	c, err := findSink(cfg, o.sink)
	if err != nil {
		return nil, usageError("%s: %w", o.config, err)
	}
	if c.Format != alert.FormatNative && o.output != outputJSON {
		return nil, usageError("sink %q publishes the format %s, which is data: it goes with -o json", c.Name, c.Format)
	}
	in, err := feedOf(c, logger)
	if err != nil {
		return nil, &exitError{code: exitConfig, err: fmt.Errorf("%s: sink %q: %w", o.config, c.Name, err)}
	}
	return in, nil
}

func findSink(cfg *config, name string) (*sinkConfig, error) {
	names := make([]string, len(cfg.Sinks))
	for i := range cfg.Sinks {
		if name == "" || cfg.Sinks[i].Name == name {
			return &cfg.Sinks[i], nil
		}
		names[i] = cfg.Sinks[i].Name
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the configuration has no sinks")
	}
	return nil, fmt.Errorf("expected --sink to be one of %s, got %q", strings.Join(names, ", "), name)
}

// feedOf turns a sink around: its template becomes a pattern for all that it can become.
func feedOf(c *sinkConfig, logger *slog.Logger) (*feed, error) {
	switch k := &c.Kinds; {
	case k.NATS != nil:
		subject, err := everyWord(k.NATS.Subject)
		if err != nil {
			return nil, err
		}
		return natsFeed(k.NATS.Access, []string{subject}, logger)
	case k.Kafka != nil:
		topic, err := everyTopic(k.Kafka.Topic)
		if err != nil {
			return nil, err
		}
		return kafkaFeed(sourcekafka.Config{Brokers: k.Kafka.Brokers, Topics: []string{topic}, TLS: k.Kafka.TLS, SASL: k.Kafka.SASL}, logger)
	case k.File != nil && k.File.Path != "-":
		path, err := expandAs(k.File.Path, "*")
		if err != nil {
			return nil, err
		}
		return fileFeed([]string{path}, nil, logger)
	}
	return nil, fmt.Errorf("what it publishes cannot be read back: expected a nats, kafka or file sink")
}

// mark stands where a label goes; no template may hold it itself.
const mark = "\x00"

// expandAs puts value in the place of every label.
func expandAs(template, value string) (string, error) {
	t, err := sinks.ParseTemplate(template)
	if err != nil {
		return "", err
	}
	return string(t.Append(nil, &sinks.Labels{}, func(dst []byte, _ string) []byte { return append(dst, value...) })), nil
}

// everyWord is a NATS subject in which a word that holds a label is any word.
func everyWord(template string) (string, error) {
	subject, err := expandAs(template, mark)
	if err != nil {
		return "", err
	}
	words := strings.Split(subject, ".")
	for i, w := range words {
		if strings.Contains(w, mark) {
			words[i] = "*"
		}
	}
	return strings.Join(words, "."), nil
}

// everyTopic is a Kafka topic, or a regular expression in which a label is any legal text.
func everyTopic(template string) (string, error) {
	topic, err := expandAs(template, mark)
	if err != nil || !strings.Contains(topic, mark) {
		return topic, err
	}
	parts := strings.Split(topic, mark)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return "^" + strings.Join(parts, "[a-zA-Z0-9_-]+") + "$", nil
}
