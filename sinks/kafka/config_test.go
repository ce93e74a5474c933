package kafka

import (
	"strings"
	"testing"

	"github.com/spawnwatch/spawnwatch/internal/kafkaconn"
)

func TestValidateNamesEveryFault(t *testing.T) {
	c := Config{
		Brokers: []string{"kafka://a:1", "b:99999"}, Topic: "a b{severty}", Key: "{", Compression: "brotli",
		TLS: &kafkaconn.TLS{Cert: "c.pem"}, SASL: &kafkaconn.SASL{Mechanism: "GSSAPI"},
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("a configuration without one right key is accepted")
	}
	for _, want := range []string{"brokers[0]:", "brokers[1]:", "topic:", "did you mean {severity}", "key:", "compression:", "tls.key:", "sasl.mechanism:", "sasl.username:", "sasl.password:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
}

func TestTopicTemplates(t *testing.T) {
	for topic, ok := range map[string]bool{
		"alerts": true, "k8s.alerts.{severity}": true, "{cluster}": true, "": false, ".": false, "..": false, "a/b": false, "ä": false,
		"{severity": false, strings.Repeat("a", 249): true, strings.Repeat("a", 250): false,
	} {
		c := Config{Brokers: []string{"b"}, Topic: topic}
		if err := c.Validate(); (err == nil) != ok {
			t.Errorf("topic %q: %v", topic, err)
		}
	}
}
