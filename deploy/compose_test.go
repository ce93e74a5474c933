package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// service is a service of docker-compose.yml, as far as it is held to something here.
type service struct {
	Image       string
	Profiles    []string
	User        string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	Grace       string   `yaml:"stop_grace_period"`
	Ports       []string
	Volumes     []string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck *struct{ Test []string }
}

func composeServices(t *testing.T) (services map[string]service, volumes map[string]any) {
	t.Helper()
	file := loose(t, root+"/docker-compose.yml")
	for key := range file {
		if !slices.Contains([]string{"services", "volumes"}, key) && !strings.HasPrefix(key, "x-") {
			t.Errorf("docker-compose.yml: docker-compose 1.29 does not know the key %s", key)
		}
	}
	services = map[string]service{}
	data := struct {
		Services *map[string]service
		Volumes  *map[string]any
	}{&services, &volumes}
	if err := yamlLoose(read(t, root+"/docker-compose.yml"), &data); err != nil {
		t.Fatal(err)
	}
	return services, volumes
}

func TestCompose(t *testing.T) {
	services, volumes := composeServices(t)
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:v?[0-9]+\.[0-9]+\.[0-9]+[a-z0-9.-]*$`)
	profiles := map[string]bool{}
	for name, s := range services {
		if len(s.Profiles) == 0 {
			t.Errorf("%s: expected a profile", name)
		}
		for _, p := range s.Profiles {
			profiles[p] = true
		}
		if s.Image != "spawnwatch:lab" && !pinned.MatchString(s.Image) {
			t.Errorf("%s: expected a pinned image, got %s", name, s.Image)
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to the network", name, p)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(from, "./") {
				if _, err := os.Stat(filepath.Join(root, from)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			} else if _, ok := volumes[from]; !ok {
				t.Errorf("%s: %s is no named volume", name, from)
			}
		}
		// In each profile of a service what it depends on must run too, and be able to say that it is healthy.
		for other, how := range s.DependsOn {
			o, ok := services[other]
			for _, p := range s.Profiles {
				if !ok || !slices.Contains(o.Profiles, p) {
					t.Errorf("%s depends on %s, which is not in profile %s", name, other, p)
				}
			}
			if how.Condition == "service_healthy" && o.Healthcheck == nil {
				t.Errorf("%s waits for the health of %s, which has no health check", name, other)
			}
		}
		if s.Image == "spawnwatch:lab" {
			holdHardened(t, name, &s)
		}
	}
	for _, p := range []string{"kafka", "nats", "forward", "scale", "observe"} {
		if !profiles[p] {
			t.Errorf("no service is in the profile %s", p)
		}
	}
}

func holdHardened(t *testing.T, name string, s *service) {
	t.Helper()
	if s.User != "65532:65532" || !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
		t.Errorf("%s: expected user 65532, read_only, no capabilities, no new privileges", name)
	}
	if grace, err := time.ParseDuration(s.Grace); err != nil || grace < stopTime {
		t.Errorf("%s: expected stop_grace_period of at least %s, got %q", name, stopTime, s.Grace)
	}
}

// stopTime is what the program may take to stop: the default of processor.drain, then leaving and closing.
const stopTime = 30 * time.Second

// The scripts in the containers are read by the shells of the images.
func TestComposeScripts(t *testing.T) {
	for path, first := range map[string]string{
		"compose/kafka/topics": "#!/usr/bin/env bash\n", "compose/kafka/feed": "#!/usr/bin/env bash\n", "compose/nats/feed": "#!/bin/sh\n",
	} {
		if !strings.HasPrefix(string(read(t, path)), first) {
			t.Errorf("%s: expected to begin with %q", path, first)
		}
	}
	services, _ := composeServices(t)
	made := string(read(t, "compose/kafka/topics"))
	for _, cfg := range []string{"kafka", "forward"} {
		for _, m := range regexp.MustCompile(`topics?: \[?([a-z0-9.-]+)\]?`).FindAllStringSubmatch(string(read(t, "compose/"+cfg+".yaml")), -1) {
			if !strings.Contains(made, "--topic "+m[1]+" ") {
				t.Errorf("compose/%s.yaml names the topic %s, which compose/kafka/topics does not make", cfg, m[1])
			}
		}
	}
	if !strings.Contains(made, "--topic k8s-audit --partitions 6") || services["spawnwatch-scale"].Image == "" {
		t.Error("expected six partitions for the three instances of the profile scale")
	}
	out := fmt.Sprint(loose(t, "compose/fluent-bit.yaml"))
	for _, want := range []string{"host:spawnwatch-forward", "port:24224", "shared_key:lab-only"} {
		if !strings.Contains(out, want) {
			t.Errorf("compose/fluent-bit.yaml: expected %s", want)
		}
	}
}
