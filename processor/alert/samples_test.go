package alert

import (
	"encoding/json"
	"time"
)

// small is an alert without enrichment and without its event, as a replay makes it.
func small() *Alert {
	return &Alert{
		ID:         "sw-7d1e8f0a4b5c6d7e8f9a0b1c2d3e4f50",
		Time:       time.Date(2026, 11, 23, 20, 15, 30, 123456000, time.UTC),
		DetectedAt: time.Date(2026, 11, 23, 20, 15, 31, 0, time.UTC),
		Outcome:    Created, Severity: Medium, Score: 40,
		Reasons: []Reason{{Code: ReasonRuleLevel, Points: 40, Text: "rule \"Workload created\" is of level medium"}},
		Title:   "Deployment web created in shop by alice",
		Cluster: "prod-eu-1",
		Rules: []Rule{{
			ID: "57642ebe-6603-4dfd-85ad-81e1a8ad22b5", Title: "Workload created", Level: Medium,
			Tags: []string{"attack.execution", "attack.t1610"}, File: "builtin/workload_created.yml",
		}},
		Attack: []Technique{{Technique: "T1610", Name: "Deploy Container", Tactic: "execution", TacticID: "TA0002"}},
		Workload: &Workload{
			Kind: "Deployment", APIVersion: "apps/v1", Namespace: "shop", Name: "web",
			UID:    "0b8b2a1e-3c4d-4e5f-8a9b-0c1d2e3f4a5b",
			Labels: []Label{{"app.kubernetes.io/name", "web"}, {"team", "checkout"}},
			Detail: DetailFull, Replicas: Number(3), ServiceAccount: "default",
			Rights: Rights{State: RightsUnknown},
			Containers: []Container{{
				Name: "web", Type: Main,
				Image: Image{Raw: "nginx:1.27", Registry: "docker.io", Repository: "library/nginx", Tag: "1.27"},
				Ports: []Port{{Name: "http", Port: 8080, Protocol: "TCP"}},
			}},
		},
		Actor: Actor{
			User: "alice", Groups: []string{"developers", "system:authenticated"},
			UserAgent: "kubectl/v1.36.2 (linux/amd64) kubernetes/abcdef0", SourceIPs: []string{"10.1.2.3"}, Type: User,
			Grant: Grant{
				Known: true, Binding: "developers", BindingKind: "RoleBinding", BindingNamespace: "shop", Role: "edit",
				RoleKind: "ClusterRole", Subject: "developers", SubjectKind: "Group", Scope: "shop",
				Reason: `RBAC: allowed by RoleBinding "developers/shop" of ClusterRole "edit" to Group "developers"`,
			},
		},
		Request: Request{
			AuditID: "4f6c1e2d-aaaa-4bbb-8ccc-1234567890ab", Verb: "create",
			URI:   "/apis/apps/v1/namespaces/shop/deployments?fieldManager=kubectl-create",
			Stage: "ResponseComplete", Code: Number(201), Level: "RequestResponse",
			ReceivedAt:  time.Date(2026, 11, 23, 20, 15, 30, 100000000, time.UTC),
			CompletedAt: time.Date(2026, 11, 23, 20, 15, 30, 123456000, time.UTC),
			Object:      Object{Group: "apps", Version: "v1", Resource: "deployments", Namespace: "shop", Name: "web"},
		},
		Policy:   Policy{PSSLevel: PSSUnknown, Intended: Intended{State: IntendedUnknown}},
		Approval: Approval{State: ApprovalUnknown},
		Origin:   Origin{Source: "audit", Topic: "k8s-audit", Partition: 3, Offset: 1042},
	}
}

// typical is an alert with everything an enricher may add: a privileged Pod in kube-system.
func typical() *Alert {
	a := small()
	a.Severity, a.Score = Critical, 100
	a.Title = "privileged Pod debug-x7k created in kube-system by carol (as admin)"
	a.Reasons = append(
		a.Reasons,
		Reason{"privileged", 25, "container \"shell\" is privileged"},
		Reason{"host_path_sensitive", 25, "mounts / of the node"},
		Reason{"impersonation", 10, "carol acted as admin"},
		Reason{"public_source", 10, "the request came from 203.0.113.9"},
	)
	a.Attack = append(a.Attack, Technique{"T1611", "Escape to Host", "privilege-escalation", "TA0004"})
	w := a.Workload
	w.Kind, w.APIVersion, w.Namespace, w.Name, w.GenerateName = "Pod", "v1", "kube-system", "debug-x7k", "debug-"
	w.Owner, w.Root = Owner{"ReplicaSet", "debug-5d8", "aa0e8400-e29b-41d4-a716-446655440000"}, Root{"Deployment", "debug"}
	w.Replicas, w.NodeName, w.ServiceAccount = Int{}, "node-1", "builder"
	w.HostPID, w.HostIPC, w.AutomountToken = True, False, Unset
	w.Rights = Rights{State: RightsKnown, Text: "14 rights by 2 roles, 1 of them dangerous", Dangerous: []Right{{
		"read_secrets", "cluster", "ClusterRole/secret-reader", "ClusterRoleBinding/builders", "may read all Secrets",
	}}}
	w.Containers = []Container{{
		Name: "shell", Type: Main,
		Image: Image{
			Raw:      "registry.example.com:5000/tools/shell:latest@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
			Registry: "registry.example.com:5000", Repository: "tools/shell", Tag: "latest",
			Digest: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		},
		Command: []string{"sh", "-c"}, Args: []string{"nsenter -t 1 -m -u -i -n sh"}, EnvNames: []string{"TOKEN", "PATH"},
		EnvFrom: []string{"secret/build"}, Ports: []Port{{"http", 8080, 80, "TCP"}},
		Resources: Resources{"100m", "1", "64Mi", "128Mi"},
		Security: Security{
			Privileged: True, AllowPrivilegeEscalation: True, RunAsUser: Number(0), CapabilitiesAdd: []string{"SYS_ADMIN"},
			CapabilitiesDrop: []string{"NET_RAW"}, SeccompProfile: "Unconfined",
		},
	}, {
		Name: "setup", Type: Init, Image: Image{Raw: "Not A Reference"},
	}}
	w.Volumes = []Volume{{"host", "hostPath", "/"}, {"token", "projected", "serviceAccountToken"}}
	a.Actor.User, a.Actor.ImpersonatedBy, a.Actor.UID = "admin", "carol", "u-17"
	a.Actor.SourceIPs = []string{"10.0.0.1", "203.0.113.9"}
	a.Request.Message = ""
	a.Policy = Policy{
		PSSLevel: PSSPrivileged, EvaluatedVersion: "v1.36",
		Violations: []Violation{{"privileged", PSSBaseline, "container \"shell\" must not set securityContext.privileged=true"}},
		Admission:  []Admission{{AdmissionViolation, "pod-security.kubernetes.io/audit-violations", "would violate PodSecurity \"baseline:latest\""}},
		Findings:   []Finding{{"latest_tag", "container \"shell\" uses the tag latest"}},
		Intended:   Intended{IntendedNo, "", []string{"registry registry.example.com:5000 is in no allow-list"}},
	}
	a.Network = Network{
		HostNetwork: True, HostPorts: []int{80}, Ports: []Port{{"http", 8080, 80, "TCP"}},
		SourceIPs: []SourceIP{{"10.0.0.1", IPPrivate, "", true}, {"203.0.113.9", IPPublic, "office", false}},
		Services:  []string{"kube-system/debug"},
	}
	a.Owners = Owners{
		Team: "platform", Contact: "platform@example.com", Chat: "#platform", Runbook: "https://runbooks.example.com/debug",
		Application: "debug", ManagedBy: "Helm", Repository: "https://git.example.com/debug", Source: "team file",
		Labels: []Label{{"app.kubernetes.io/managed-by", "Helm"}},
	}
	a.Investigate = []Step{{2, "What was created?", "a privileged Pod with the node's root", "kubectl -n kube-system describe pod debug-x7k"}}
	a.Respond = []Response{{1, "Stop it", "kubectl -n kube-system delete pod debug-x7k"}}
	a.Approval = Approval{Unapproved, "", "CHG-7", "no allow-list entry", []string{"ticket CHG-7 names another namespace"}}
	a.Event = json.RawMessage("{\"kind\":\"Event\",\n \"verb\":\"create\",\"user\":{\"username\":\"carol\"}}")
	a.Notes = []Note{{"event_redacted", "values that may be secret were removed"}}
	return a
}
