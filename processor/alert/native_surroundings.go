package alert

func appendPolicy(dst []byte, p *Policy) []byte {
	dst = word(dst, `{"pss_level":`, string(p.PSSLevel), "unknown")
	dst = str(dst, `,"evaluated_version":`, p.EvaluatedVersion)
	dst = array(dst, `,"violations":`, p.Violations, appendViolation)
	dst = array(dst, `,"admission":`, p.Admission, appendAdmission)
	dst = array(dst, `,"findings":`, p.Findings, appendFinding)
	dst = word(dst, `,"intended":{"state":`, string(p.Intended.State), "unknown")
	dst = str(dst, `,"by":`, p.Intended.By)
	dst = strs(dst, `,"deviations":`, p.Intended.Deviations)
	return append(dst, `}}`...)
}

func appendViolation(dst []byte, v *Violation) []byte {
	dst = str(dst, `{"check":`, v.Check)
	dst = word(dst, `,"level":`, string(v.Level), "unknown")
	dst = str(dst, `,"detail":`, v.Detail)
	return append(dst, '}')
}

func appendAdmission(dst []byte, a *Admission) []byte {
	dst = str(dst, `{"type":`, string(a.Type))
	dst = str(dst, `,"source":`, a.Source)
	dst = str(dst, `,"detail":`, a.Detail)
	return append(dst, '}')
}

func appendFinding(dst []byte, f *Finding) []byte {
	dst = str(dst, `{"code":`, f.Code)
	dst = str(dst, `,"text":`, f.Text)
	return append(dst, '}')
}

func appendNetwork(dst []byte, n *Network) []byte {
	dst = tristate(dst, `{"host_network":`, n.HostNetwork)
	dst = ints(dst, `,"host_ports":`, n.HostPorts)
	dst = array(dst, `,"ports":`, n.Ports, appendPort)
	dst = array(dst, `,"source_ips":`, n.SourceIPs, appendSourceIP)
	dst = strs(dst, `,"services":`, n.Services)
	return append(dst, '}')
}

func appendSourceIP(dst []byte, s *SourceIP) []byte {
	dst = str(dst, `{"ip":`, s.IP)
	dst = str(dst, `,"class":`, string(s.Class))
	dst = str(dst, `,"network":`, s.Network)
	dst = boolean(dst, `,"claimed":`, s.Claimed)
	return append(dst, '}')
}

func appendOwners(dst []byte, o *Owners) []byte {
	dst = str(dst, `{"team":`, o.Team)
	dst = str(dst, `,"contact":`, o.Contact)
	dst = str(dst, `,"chat":`, o.Chat)
	dst = str(dst, `,"runbook":`, o.Runbook)
	dst = str(dst, `,"application":`, o.Application)
	dst = str(dst, `,"managed_by":`, o.ManagedBy)
	dst = str(dst, `,"repository":`, o.Repository)
	dst = str(dst, `,"source":`, o.Source)
	dst = labels(dst, `,"labels":`, o.Labels)
	return append(dst, '}')
}

func appendApproval(dst []byte, a *Approval) []byte {
	dst = word(dst, `{"state":`, string(a.State), "unknown")
	dst = str(dst, `,"by":`, a.By)
	dst = str(dst, `,"ticket":`, a.Ticket)
	dst = str(dst, `,"reason":`, a.Reason)
	dst = strs(dst, `,"deviations":`, a.Deviations)
	return append(dst, '}')
}
