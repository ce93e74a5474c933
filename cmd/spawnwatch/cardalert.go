package main

import (
	"encoding/json"
	"errors"
	"fmt"
)

// cardAlert is what people are shown of an alert in the native format. The names are those of spawnwatch.alert/v1.
type cardAlert struct {
	Schema   string       `json:"schema"`
	ID       string       `json:"id"`
	Time     string       `json:"time"`
	Outcome  string       `json:"outcome"`
	Severity string       `json:"severity"`
	Score    int          `json:"score"`
	Reasons  []cardReason `json:"reasons"`
	Title    string       `json:"title"`
	Cluster  string       `json:"cluster"`
	Rules    []struct {
		Title string `json:"title"`
		Level string `json:"level"`
	} `json:"rules"`
	Workload *cardWorkload `json:"workload"`
	Actor    cardActor     `json:"actor"`
	Request  struct {
		AuditID string `json:"audit_id"`
		Verb    string `json:"verb"`
		Code    int    `json:"code"`
		Message string `json:"message"`
		Object  struct {
			Resource    string `json:"resource"`
			Subresource string `json:"subresource"`
			Namespace   string `json:"namespace"`
			Name        string `json:"name"`
		} `json:"object"`
	} `json:"request"`
	Policy struct {
		Level      string `json:"pss_level"`
		Violations []struct {
			Check string `json:"check"`
			Level string `json:"level"`
		} `json:"violations"`
		Admission []struct {
			Type   string `json:"type"`
			Detail string `json:"detail"`
		} `json:"admission"`
		Findings []cardNote `json:"findings"`
		Intended struct {
			State      string   `json:"state"`
			Deviations []string `json:"deviations"`
		} `json:"intended"`
	} `json:"policy"`
	Network struct {
		HostNetwork bool  `json:"host_network"`
		HostPorts   []int `json:"host_ports"`
		SourceIPs   []struct {
			IP      string `json:"ip"`
			Class   string `json:"class"`
			Network string `json:"network"`
			Claimed bool   `json:"claimed"`
		} `json:"source_ips"`
	} `json:"network"`
	Owners struct {
		Team    string `json:"team"`
		Contact string `json:"contact"`
		Chat    string `json:"chat"`
		Runbook string `json:"runbook"`
	} `json:"owners"`
	Investigate []struct {
		Step    int    `json:"step"`
		Command string `json:"command"`
	} `json:"investigate"`
	Respond []struct {
		Step    int    `json:"step"`
		Title   string `json:"title"`
		Command string `json:"command"`
	} `json:"respond"`
	Approval struct {
		State      string   `json:"state"`
		By         string   `json:"by"`
		Ticket     string   `json:"ticket"`
		Reason     string   `json:"reason"`
		Deviations []string `json:"deviations"`
	} `json:"approval"`
	Notes []cardNote `json:"notes"`
}

type cardReason struct {
	Code   string `json:"code"`
	Points int    `json:"points"`
	Text   string `json:"text"`
}

type cardNote struct {
	Text string `json:"text"`
}

type cardWorkload struct {
	Kind           string     `json:"kind"`
	Namespace      string     `json:"namespace"`
	Name           string     `json:"name"`
	NameUnknown    bool       `json:"name_unknown"`
	GenerateName   string     `json:"generate_name"`
	Detail         string     `json:"detail"`
	Owner          cardObject `json:"owner"`
	Root           cardObject `json:"root"`
	Controlled     bool       `json:"controlled"`
	Replicas       *int       `json:"replicas"`
	ServiceAccount string     `json:"service_account"`
	Rights         struct {
		Text      string     `json:"text"`
		State     string     `json:"state"`
		Dangerous []cardNote `json:"dangerous"`
	} `json:"service_account_rights"`
	NodeName   string          `json:"node_name"`
	HostPID    bool            `json:"host_pid"`
	HostIPC    bool            `json:"host_ipc"`
	Containers []cardContainer `json:"containers"`
	Volumes    []struct {
		Type   string `json:"type"`
		Detail string `json:"detail"`
	} `json:"volumes"`
}

type cardObject struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

type cardContainer struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Image struct {
		Raw string `json:"raw"`
	} `json:"image"`
	Command  []string `json:"command"`
	Args     []string `json:"args"`
	Security struct {
		Privileged      bool     `json:"privileged"`
		RunAsUser       *int64   `json:"run_as_user"`
		CapabilitiesAdd []string `json:"capabilities_add"`
	} `json:"security"`
}

type cardActor struct {
	User           string   `json:"user"`
	Groups         []string `json:"groups"`
	ImpersonatedBy string   `json:"impersonated_by"`
	UserAgent      string   `json:"user_agent"`
	SourceIPs      []string `json:"source_ips"`
	Type           string   `json:"type"`
	Grant          struct {
		Known            bool   `json:"known"`
		Binding          string `json:"binding"`
		BindingKind      string `json:"binding_kind"`
		BindingNamespace string `json:"binding_namespace"`
		Role             string `json:"role"`
		RoleKind         string `json:"role_kind"`
		Subject          string `json:"subject"`
		SubjectKind      string `json:"subject_kind"`
		Scope            string `json:"scope"`
		Reason           string `json:"reason"`
	} `json:"grant"`
}

// nativeSchema is the format that cards and tables can be made of.
const nativeSchema = "spawnwatch.alert/v1"

// readAlert reads an alert in the native format. encoding/json limits how deep it may nest, so that no input ends the
// program.
func readAlert(line []byte) (*cardAlert, error) {
	var a cardAlert
	err := json.Unmarshal(line, &a)
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType):
		return nil, fmt.Errorf("expected an alert of the format %s, got %s where %s belongs", nativeSchema, wrongType.Value, wrongType.Field)
	case err != nil:
		return nil, fmt.Errorf("expected an alert as JSON, got something else: %w", err)
	case a.Schema != nativeSchema:
		return nil, fmt.Errorf("expected an alert of the format %s, got schema %q (only native alerts can be shown; use -o json for others)", nativeSchema, a.Schema)
	}
	return &a, nil
}
