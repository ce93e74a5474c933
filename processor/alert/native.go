package alert

// AppendNative appends the alert in format v1: see [Schema].
func AppendNative(dst []byte, a *Alert) []byte {
	dst = append(dst, `{"schema":"`+SchemaName+`"`...)
	dst = str(dst, `,"id":`, a.ID)
	dst = stamp(dst, `,"time":`, a.Time)
	dst = stamp(dst, `,"detected_at":`, a.DetectedAt)
	dst = str(dst, `,"outcome":`, string(a.Outcome))
	dst = str(dst, `,"severity":`, string(a.Severity))
	dst = integer(dst, `,"score":`, int64(a.Score))
	dst = array(dst, `,"reasons":`, a.Reasons, appendReason)
	dst = str(dst, `,"title":`, a.Title)
	dst = str(dst, `,"cluster":`, a.Cluster)
	dst = array(dst, `,"rules":`, a.Rules, appendRule)
	dst = array(dst, `,"attack":`, a.Attack, appendTechnique)
	dst = append(dst, `,"workload":`...)
	if a.Workload == nil {
		dst = append(dst, "null"...)
	} else {
		dst = appendWorkload(dst, a.Workload)
	}
	dst = appendActor(append(dst, `,"actor":`...), &a.Actor)
	dst = appendRequest(append(dst, `,"request":`...), &a.Request)
	dst = appendPolicy(append(dst, `,"policy":`...), &a.Policy)
	dst = appendNetwork(append(dst, `,"network":`...), &a.Network)
	dst = appendOwners(append(dst, `,"owners":`...), &a.Owners)
	dst = append(dst, `,"novelty":{}`...)
	dst = array(dst, `,"related":`, a.Related, appendRelated)
	dst = array(dst, `,"investigate":`, a.Investigate, appendStep)
	dst = array(dst, `,"respond":`, a.Respond, appendResponse)
	dst = appendApproval(append(dst, `,"approval":`...), &a.Approval)
	dst = appendOrigin(append(dst, `,"origin":`...), &a.Origin)
	dst = append(dst, `,"event":`...)
	if len(a.Event) == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = appendRaw(dst, a.Event)
	}
	dst = array(dst, `,"notes":`, a.Notes, appendNote)
	return append(dst, '}')
}

// MarshalJSON implements [json.Marshaler]: the native format is the only one the struct has.
func (a *Alert) MarshalJSON() ([]byte, error) { return AppendNative(nil, a), nil }

func appendReason(dst []byte, r *Reason) []byte {
	dst = str(dst, `{"code":`, r.Code)
	dst = integer(dst, `,"points":`, int64(r.Points))
	dst = str(dst, `,"text":`, r.Text)
	return append(dst, '}')
}

func appendRule(dst []byte, r *Rule) []byte {
	dst = str(dst, `{"id":`, r.ID)
	dst = str(dst, `,"title":`, r.Title)
	dst = str(dst, `,"level":`, string(r.Level))
	dst = strs(dst, `,"tags":`, r.Tags)
	dst = str(dst, `,"file":`, r.File)
	return append(dst, '}')
}

func appendTechnique(dst []byte, t *Technique) []byte {
	dst = str(dst, `{"technique":`, t.Technique)
	dst = str(dst, `,"technique_name":`, t.Name)
	dst = str(dst, `,"tactic":`, t.Tactic)
	dst = str(dst, `,"tactic_id":`, t.TacticID)
	return append(dst, '}')
}

func appendActor(dst []byte, a *Actor) []byte {
	dst = str(dst, `{"user":`, a.User)
	dst = strs(dst, `,"groups":`, a.Groups)
	dst = str(dst, `,"uid":`, a.UID)
	dst = str(dst, `,"impersonated_by":`, a.ImpersonatedBy)
	dst = str(dst, `,"user_agent":`, a.UserAgent)
	dst = strs(dst, `,"source_ips":`, a.SourceIPs)
	dst = str(dst, `,"type":`, string(a.Type))
	dst = boolean(dst, `,"grant":{"known":`, a.Grant.Known)
	dst = str(dst, `,"binding":`, a.Grant.Binding)
	dst = str(dst, `,"binding_kind":`, a.Grant.BindingKind)
	dst = str(dst, `,"binding_namespace":`, a.Grant.BindingNamespace)
	dst = str(dst, `,"role":`, a.Grant.Role)
	dst = str(dst, `,"role_kind":`, a.Grant.RoleKind)
	dst = str(dst, `,"subject":`, a.Grant.Subject)
	dst = str(dst, `,"subject_kind":`, a.Grant.SubjectKind)
	dst = str(dst, `,"scope":`, a.Grant.Scope)
	dst = str(dst, `,"reason":`, a.Grant.Reason)
	return append(dst, `}}`...)
}

func appendRequest(dst []byte, r *Request) []byte {
	dst = str(dst, `{"audit_id":`, r.AuditID)
	dst = str(dst, `,"verb":`, r.Verb)
	dst = str(dst, `,"uri":`, r.URI)
	dst = str(dst, `,"stage":`, r.Stage)
	dst = number(dst, `,"code":`, r.Code)
	dst = str(dst, `,"message":`, r.Message)
	dst = str(dst, `,"level":`, r.Level)
	dst = stamp(dst, `,"received_at":`, r.ReceivedAt)
	dst = stamp(dst, `,"completed_at":`, r.CompletedAt)
	dst = str(dst, `,"object":{"group":`, r.Object.Group)
	dst = str(dst, `,"version":`, r.Object.Version)
	dst = str(dst, `,"resource":`, r.Object.Resource)
	dst = str(dst, `,"subresource":`, r.Object.Subresource)
	dst = str(dst, `,"namespace":`, r.Object.Namespace)
	dst = str(dst, `,"name":`, r.Object.Name)
	return append(dst, `}}`...)
}

func appendRelated(dst []byte, r *Related) []byte {
	dst = stamp(dst, `{"time":`, r.Time)
	dst = str(dst, `,"audit_id":`, r.AuditID)
	dst = str(dst, `,"actor":`, r.Actor)
	dst = str(dst, `,"summary":`, r.Summary)
	return append(dst, '}')
}

func appendStep(dst []byte, s *Step) []byte {
	dst = integer(dst, `{"step":`, int64(s.Step))
	dst = str(dst, `,"question":`, s.Question)
	dst = str(dst, `,"answer":`, s.Answer)
	dst = str(dst, `,"command":`, s.Command)
	return append(dst, '}')
}

func appendResponse(dst []byte, r *Response) []byte {
	dst = integer(dst, `{"step":`, int64(r.Step))
	dst = str(dst, `,"title":`, r.Title)
	dst = str(dst, `,"command":`, r.Command)
	return append(dst, '}')
}

func appendOrigin(dst []byte, o *Origin) []byte {
	dst = str(dst, `{"source":`, o.Source)
	dst = str(dst, `,"topic":`, o.Topic)
	dst = integer(dst, `,"partition":`, int64(o.Partition))
	dst = integer(dst, `,"offset":`, o.Offset)
	dst = integer(dst, `,"line":`, o.Line)
	return append(dst, '}')
}

func appendNote(dst []byte, n *Note) []byte {
	dst = str(dst, `{"code":`, n.Code)
	dst = str(dst, `,"text":`, n.Text)
	return append(dst, '}')
}
