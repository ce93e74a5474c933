package envelope

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

const event = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-1","stage":"ResponseComplete",` +
	`"requestURI":"/api/v1/namespaces/shop/pods?a=1\u0026b=2","verb":"create","user":{"username":"dana \"d\" ü"},` +
	`"objectRef":{"resource":"pods","namespace":"shop","name":"cart-7","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201}}`

// quote writes s as a JSON string.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func zip(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// subscription is a CloudWatch Logs message with one log event per message.
func subscription(group, stream string, messages ...string) string {
	var events []string
	for i, m := range messages {
		events = append(events, fmt.Sprintf(`{"id":"3%d","timestamp":1795401839%03d,"message":%s}`, i, i, quote(m)))
	}
	return `{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":` + quote(group) + `,"logStream":` + quote(stream) +
		`,"subscriptionFilters":["f"],"logEvents":[` + strings.Join(events, ",") + `]}`
}

const (
	eksGroup  = "/aws/eks/prod-1/cluster"
	eksStream = "kube-apiserver-audit-0123abc"
	aksID     = "/SUBSCRIPTIONS/1/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/AKS-1"
)

// TestShapes: one event in every shape that is known, each with what the wrapper says. The event comes out byte for
// byte.
func TestShapes(t *testing.T) {
	later := strings.Replace(event, `{"kind":"Event","apiVersion":"audit.k8s.io/v1",`, `{"annotations":{"a":"b"},"level":"x","auditID":"a-1",`, 1)
	at := time.UnixMilli(1795401839000).UTC()
	for _, c := range []struct {
		name, record string
		want         Item // Event and Raw nil: event, and the whole record
	}{
		{"bare", event, Item{Index: -1}},
		{"bare, white space and BOM", "\ufeff \r\n" + event + "\n\t", Item{Index: -1}},
		{"bare, other order", later, Item{Index: -1, Event: []byte(later)}},
		{"bare, Reserve_Data", `{"_p":"F","stream":"stdout","time":"t","log":"{}",` + event[1:], Item{Index: -1, Event: []byte(`{"_p":"F","stream":"stdout","time":"t","log":"{}",` + event[1:])}},
		{"EventList", `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[` + event + `]}`, Item{Index: 0, Raw: []byte(event), Wrapper: List}},
		{"EventList, escaped keys", `{"\u0069tems":[` + event + `],"k\u0069nd":"EventList"}`, Item{Index: 0, Raw: []byte(event), Wrapper: List}},
		{"array", `[` + event + `]`, Item{Index: 0, Raw: []byte(event), Wrapper: List}},
		{"JSON string", quote(event), Item{Index: -1}},
		{"Fluent Bit log", `{"date":1.5,"kubernetes":{"pod_name":"p","cluster_name":"edge"},"log":` + quote(event+"\n") + `}`, Item{Index: -1, Wrapper: Shipper, Cluster: "edge"}},
		{"Fluent Bit log, other key first", `{"log":` + quote("\n "+event) + `,"stream":"stdout"}`, Item{Index: -1, Wrapper: Shipper}},
		{"Fluent Bit log, parsed", `{"date":1.5,"log":` + event + `,"file":"/a"}`, Item{Index: -1, Wrapper: Shipper}},
		{"Fluent Bit batch", `[{"date":1,"log":` + quote(event) + `}]`, Item{Index: 0, Raw: []byte(`{"date":1,"log":` + quote(event) + `}`), Wrapper: Shipper}},
		{"message", `{"message":` + quote(event) + `,"@timestamp":"t"}`, Item{Index: -1, Wrapper: Shipper}},
		{"docker", `{"log":` + quote(event+"\n") + `,"stream":"stderr","time":"2026-11-23T01:02:09.5Z"}`, Item{Index: -1, Wrapper: Shipper}},
		{"CRI line", "2026-11-23T01:02:09.000000000Z stdout F " + event, Item{Index: -1, Wrapper: Shipper}},
		{"CRI line in log", `{"log":` + quote("2026-11-23T01:02:09.000000000+01:00 stdout F "+event) + `}`, Item{Index: -1, Wrapper: Shipper}},
		{"EventList in log", `{"log":` + quote(`{"kind":"EventList","items":[`+event+`]}`) + `}`, Item{Index: 0, Raw: []byte(event), Wrapper: List}},
		{"Filebeat", `{"@timestamp":"t","log":{"file":{"path":"/a"},"offset":7},"message":` + quote(event) + `,"orchestrator":{"cluster":{"name":"eu"}}}`, Item{Index: -1, Wrapper: Shipper, Cluster: "eu"}},
		{"Filebeat, parsed", `{"log":{"file":{"path":"/a"},"offset":7},"message":` + event + `}`, Item{Index: -1, Wrapper: Shipper}},
		{"Filebeat, a parsed wrapper", `{"log":{"offset":7},"message":{"category":"kube-audit","properties":{"log":` + quote(event) + `}}}`, Item{Index: -1, Wrapper: AKS}},
		{"log parsed, message too", `{"message":{"a":1},"log":` + event + `}`, Item{Index: -1, Wrapper: Shipper}},
		{"log a parsed wrapper, message too", `{"log":{"category":"kube-audit","properties":{"log":` + quote(event) + `}},"message":{"a":1}}`, Item{Index: -1, Wrapper: AKS}},
		{"log a parsed list, message too", `{"log":{"kind":"EventList","items":[` + event + `]},"message":{"a":1}}`, Item{Index: 0, Raw: []byte(event), Wrapper: List}},
		{"Elastic, event.original", `{"event":{"kind":"event","original":` + quote(event) + `},"message":"pods created"}`, Item{Index: -1, Wrapper: Shipper}},
		{"Elastic, kubernetes.audit", `{"kubernetes":{"pod":{},"audit":` + event + `},"event":{"kind":"event"}}`, Item{Index: -1, Wrapper: Shipper}},
		{"Vector", `{"file":"/a","host":"h","message":` + quote(event) + `,"source_type":"file"}`, Item{Index: -1, Wrapper: Shipper}},
		{"journald", `{"MESSAGE":` + quote(event) + `,"PRIORITY":"6"}`, Item{Index: -1, Wrapper: Shipper}},
		{"Kafka Connect object", `{"schema":{"type":"struct"},"payload":` + event + `}`, Item{Index: -1, Wrapper: KafkaConnect}},
		{"Kafka Connect string", `{"schema":{"type":"string"},"payload":` + quote(event) + `}`, Item{Index: -1, Wrapper: KafkaConnect}},
		{"Kafka Connect string of Firehose of EKS", `{"schema":{},"payload":` + quote(`{"records":[{"data":"`+b64(zip(subscription(eksGroup, eksStream, event)))+`"}]}`) + `}`, Item{Index: 0, Raw: []byte(`{"id":"30","timestamp":1795401839000,"message":` + quote(event) + `}`), Wrapper: EKS, Cluster: "prod-1", Time: at}},
		{"shortened", `{"kind":"Event","verb":"create"}`, Item{Index: -1, Event: []byte(`{"kind":"Event","verb":"create"}`)}},
		{"shortened, cut", subscription(eksGroup, eksStream, `{"verb":"create","kind":"Event","us[Truncated...]`), Item{Index: 0, Event: []byte(`{"verb":"create","kind":"Event"}`), Raw: []byte(`{"id":"30","timestamp":1795401839000,"message":"{\"verb\":\"create\",\"kind\":\"Event\",\"us[Truncated...]"}`), Wrapper: EKS, Cluster: "prod-1", Time: at, Truncated: true}},
		{"Kafka Connect without schema", `{"schema":null,"payload":` + event + `}`, Item{Index: -1, Wrapper: KafkaConnect}},
		{"EKS", subscription(eksGroup, eksStream, event), Item{Index: 0, Raw: []byte(`{"id":"30","timestamp":1795401839000,"message":` + quote(event) + `}`), Wrapper: EKS, Cluster: "prod-1", Time: at}},
		{"EKS gzip", zip(subscription(eksGroup, eksStream, event)), Item{Index: 0, Raw: []byte(`{"id":"30","timestamp":1795401839000,"message":` + quote(event) + `}`), Wrapper: EKS, Cluster: "prod-1", Time: at}},
		{"EKS Firehose", `{"requestId":"r","timestamp":1,"records":[{"data":"` + b64(zip(subscription(eksGroup, eksStream, event))) + `"}]}`, Item{Index: 0, Raw: []byte(`{"id":"30","timestamp":1795401839000,"message":` + quote(event) + `}`), Wrapper: EKS, Cluster: "prod-1", Time: at}},
		{"EKS Kinesis", `{"Records":[{"kinesis":{"data":"` + b64(zip(subscription(eksGroup, eksStream, event))) + `"},"eventSource":"aws:kinesis"}]}`, Item{Index: 0, Raw: []byte(`{"id":"30","timestamp":1795401839000,"message":` + quote(event) + `}`), Wrapper: EKS, Cluster: "prod-1", Time: at}},
		{"EKS Lambda", `{"awslogs":{"data":"` + b64(zip(subscription(eksGroup, eksStream, event))) + `"}}`, Item{Index: 0, Raw: []byte(`{"id":"30","timestamp":1795401839000,"message":` + quote(event) + `}`), Wrapper: EKS, Cluster: "prod-1", Time: at}},
		{"EKS, another group", subscription("central", "anything", event), Item{Index: 0, Raw: []byte(`{"id":"30","timestamp":1795401839000,"message":` + quote(event) + `}`), Wrapper: EKS, Time: at}},
		{"AKS record", `{"category":"kube-audit","resourceId":"` + aksID + `","properties":{"pod":"p","log":` + quote(event+"\n") + `}}`, Item{Index: -1, Wrapper: AKS, Cluster: "AKS-1"}},
		{"AKS parsed", `{"category":"kube-audit","properties":{"log":` + event + `}}`, Item{Index: -1, Wrapper: AKS}},
		{"AKS records", `{"records":[{"category":"kube-audit-admin","resourceId":"/x/managedClusters/c2/y","properties":{"log":` + quote(event) + `}}]}`, Item{Index: 0, Raw: []byte(`{"category":"kube-audit-admin","resourceId":"/x/managedClusters/c2/y","properties":{"log":` + quote(event) + `}}`), Wrapper: AKS, Cluster: "c2"}},
		{"gzip", zip(event), Item{Index: -1}},
		{"keys with every escape", `{"\u006c\u006Fg":` + quote(event) + `,"\"\\\/\b\f\n\r\t\u00e9":1,"` + strings.Repeat(`\u0061`, 50) + `":2}`, Item{Index: -1, Wrapper: Shipper}},
		{"white space everywhere", "{ \"a\" : [ 1 , 2 ] ,\n\"items\"\t:\r[ " + event + " , " + event[:0] + event + " ] , \"kind\" : \"PodList\" , \"message\" : " + quote(event) + " }", Item{Index: -1, Wrapper: Shipper}},
		{"EKS of another form of group", subscription("/aws/eks/x/other", eksStream, event), Item{Index: 0, Raw: []byte(`{"id":"30","timestamp":1795401839000,"message":` + quote(event) + `}`), Wrapper: EKS, Time: at}},
		{"EKS, members twice, no time", `{"messageType":"DATA_MESSAGE","logEvents":[{"message":` + quote(event) + `,"message":"x","timestamp":"y"}],"logEvents":[7]}`, Item{Index: 0, Raw: []byte(`{"message":` + quote(event) + `,"message":"x","timestamp":"y"}`), Wrapper: EKS}},
		{"AKS, members twice", `{"category":"kube-audit","resourceId":"/x/managedClusters/","properties":{"log":` + quote(event) + `},"properties":{}}`, Item{Index: -1, Wrapper: AKS}},
		{"a cluster name beyond all limits", `{"log":` + quote(event) + `,"cluster_name":"` + strings.Repeat("c", maxClusterName+1) + `"}`, Item{Index: -1, Wrapper: Shipper}},
		{"a cluster name with escapes", `{"log":` + quote(event) + `,"kubernetes":{"cluster":"\u0065u"}}`, Item{Index: -1, Wrapper: Shipper, Cluster: "eu"}},
		{"event.original twice", `{"event":{"original":` + quote(event) + `},"event":{"original":"x"}}`, Item{Index: -1, Wrapper: Shipper}},
		{"first of duplicate keys", `{"log":` + quote(event) + `,"log":"x","message":"y"}`, Item{Index: -1, Wrapper: Shipper}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := readAll([]byte(c.record))
			if len(rec.events) != 1 || len(rec.faults) > 0 || len(rec.ignored) > 0 {
				t.Fatalf("events %d, faults %v, ignored %v; want one event", len(rec.events), rec.faults, rec.ignored)
			}
			got := rec.events[0]
			if c.want.Event == nil {
				c.want.Event = []byte(event)
			}
			if c.want.Raw == nil {
				c.want.Raw = []byte(c.record)
			}
			if string(got.Event) != string(c.want.Event) {
				t.Errorf("event\n got %s\nwant %s", got.Event, c.want.Event)
			}
			if string(got.Raw) != string(c.want.Raw) {
				t.Errorf("raw\n got %.300q\nwant %.300q", got.Raw, c.want.Raw)
			}
			got.Event, got.Raw, c.want.Event, c.want.Raw = nil, nil, nil, nil
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	deep := event
	for range MaxWrappers + 1 {
		deep = `{"log":` + quote(deep) + `}`
	}
	edge := event
	for range MaxWrappers {
		edge = `{"log":` + quote(edge) + `}`
	}
	if rec := readAll([]byte(edge)); len(rec.events) != 1 {
		t.Errorf("%d wrappers: %v; want the event", MaxWrappers, rec.faults)
	}
	for _, c := range []struct {
		name, record string
		reason       Reason
		detail       string // a part of it
		raw          string // "" for the whole record
		index, good  int    // index of the bad element, -1 the whole record; events beside
	}{
		{"plain text", "I1120 10:00:00 server.go:1] started", Malformed, "expected { or [ at byte 0, found 'I'", "", -1, 0},
		{"number", "17", Foreign, "bare JSON value", "", -1, 0},
		{"string of no event", `"hello"`, Malformed, "expected { or [", "", -1, 0},
		{"string cut", `"hello`, Malformed, "closing quote", "", -1, 0},
		{"string and more", `"{}" x`, Malformed, "expected the end of the record after the value at byte 5", "", -1, 0},
		{"cut event", event[:200], Malformed, "expected } at the end of the object that begins at byte 0", "", -1, 0},
		{"two lines in one", `{"a":1} {"b":2}`, Malformed, "expected the end of the record after the value at byte 8", "", -1, 0},
		{"core event", `{"kind":"Event","apiVersion":"v1","metadata":{"name":"x"},"involvedObject":{}}`, Foreign, "expected an audit event", "", -1, 0},
		{"core event, typical members first", `{"kind":"Event","verb":"x","stage":"y","apiVersion":"v1"}`, Foreign, "expected an audit event", "", -1, 0},
		{"core event list", `{"kind":"EventList","apiVersion":"v1","items":[{"kind":"Event"}]}`, Foreign, "expected an audit event", "", -1, 0},
		{"another list", `{"kind":"PodList","items":[` + event + `]}`, Foreign, "expected an audit event", "", -1, 0},
		{"access log", `{"verb":"GET","requestURI":"/x","status":200}`, Foreign, "expected an audit event", "", -1, 0},
		{"application log", `{"level":"info","message":"hello","user":{}}`, Foreign, "expected an audit event", "", -1, 0},
		{"empty log", `{"log":"\n"}`, Foreign, "expected an audit event", "", -1, 0},
		{"log of a cut event", `{"log":` + quote(event[:200]) + `}`, Malformed, "expected } at the end", "", -1, 0},
		{"log with a bad escape", `{"log":"{\x}"}`, Malformed, "backslash at byte 10", "", -1, 0},
		{"log, wrapper broken behind", `{"log":` + quote(event) + `,"stream":stdout}`, Malformed, "expected a value at byte", "", -1, 0},
		{"a line like CRI, another stream", "2026-11-23T01:02:09.000000000Z stdlog F {}", Malformed, "expected { or [", "", -1, 0},
		{"a line like CRI, another tag", "2026-11-23T01:02:09.000000000Z stdout X {}", Malformed, "expected { or [", "", -1, 0},
		{"a line like CRI, nothing behind", "2026-11-23T01:02:09.000000000Z", Malformed, "expected { or [", "", -1, 0},
		{"a line like CRI, no text", "2026-11-23T01:02:09.000000000Z stdout", Malformed, "expected { or [", "", -1, 0},
		{"a lone surrogate's bad twin", `{"log":"{\ud83d\u12x4}"}`, Malformed, `after \u at byte 19`, "", -1, 0},
		{"logEvents is broken", `{"messageType":"DATA_MESSAGE","logEvents":[{"a":1} {}]}`, Malformed, "expected , or ] after an element at byte 51", "", -1, 0},
		{"logEvents is an object", `{"messageType":"DATA_MESSAGE","logEvents":{}}`, Foreign, "expected an audit event", "", -1, 0},
		{"array of numbers", `[1,2,3]`, Foreign, "found none", "", -1, 0},
		{"CRI piece", "2026-11-23T01:02:09.000000000Z stdout P " + event[:50], Partial, "split", "", -1, 0},
		{"EventList item is a number", `{"kind":"EventList","items":[7,` + event + `]}`, Foreign, "item of the EventList", "7", 0, 1},
		{"EventList broken", `{"kind":"EventList","items":[` + event + `,{"a":}]}`, Malformed, "expected a value at byte", "", -1, 0},
		{"array element foreign", `[` + event + `,{"a":1},null]`, Foreign, "", `{"a":1}`, 1, 1},
		{"array broken", `[` + event + `,]`, Malformed, "expected a value at byte", "", -1, 0},
		{"array and more", `[` + event + `] ]`, Malformed, "expected the end of the record", "", -1, 0},
		{"too many wrappers", deep, TooDeep, "more than 6 wrappers", "", -1, 0},
		{"Kafka Connect of another", `{"schema":{},"payload":{"id":1}}`, Foreign, "expected an audit event", "", -1, 0},
		{"Kafka Connect tombstone", `{"schema":null,"payload":null}`, Foreign, "bare JSON value", "", -1, 0},
		{"EKS message is text", subscription(eksGroup, eksStream, "oops", event), Malformed, "expected { or [", `{"id":"30","timestamp":1795401839000,"message":"oops"}`, 0, 1},
		{"EKS without message", `{"messageType":"DATA_MESSAGE","logEvents":[{"id":"1"},2]}`, Foreign, "log event with a message", `{"id":"1"}`, 0, 0},
		{"EKS unknown type", `{"messageType":"OTHER","logEvents":[]}`, Foreign, "DATA_MESSAGE", "", -1, 0},
		{"EKS cut at once", subscription(eksGroup, eksStream, `{"kind":"Ev[Truncated...]`), Partial, "before it could be told", `{"id":"30","timestamp":1795401839000,"message":"{\"kind\":\"Ev[Truncated...]"}`, 0, 0},
		{"EKS cut text", subscription(eksGroup, eksStream, `[Truncated...]`), Partial, "before anything", `{"id":"30","timestamp":1795401839000,"message":"[Truncated...]"}`, 0, 0},
		{"gzip cut", zip(event)[:40], Undecodable, "gzip data of 40 bytes", "", -1, 0},
		{"gzip damaged", strings.Replace(zip(event), zip(event)[30:34], "xxxx", 1), Undecodable, "cannot be inflated", "", -1, 0},
		{"gzip header only", "\x1f\x8b\x08", Undecodable, "cannot be inflated", "", -1, 0},
		{"Firehose of no base64", `{"records":[{"data":"%%%"}]}`, Undecodable, "base64", `{"data":"%%%"}`, 0, 0},
		{"records of numbers", `{"records":[1]}`, Foreign, "record", "1", 0, 0},
		{"AKS without log", `{"category":"kube-audit","properties":{"pod":"p"}}`, Foreign, "properties.log", "", -1, 0},
		{"AKS with text", `{"records":[{"category":"kube-audit","properties":{"log":"hello"}}]}`, Malformed, "expected { or [", `{"category":"kube-audit","properties":{"log":"hello"}}`, 0, 0},
		{"GKE without method", `{"protoPayload":{"serviceName":"k8s.io"}}`, Foreign, "methodName", "", -1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := readAll([]byte(c.record))
			if len(rec.faults) == 0 || len(rec.events) != c.good || len(rec.ignored) > 0 {
				t.Fatalf("events %d, faults %v, ignored %v; want a fault and %d events", len(rec.events), rec.faults, rec.ignored, c.good)
			}
			f := rec.faults[0]
			if f.Reason != c.reason || !strings.Contains(f.Detail, c.detail) {
				t.Errorf("got %s: %s; want %s: …%s…", f.Reason, f.Detail, c.reason, c.detail)
			}
			if c.raw == "" {
				c.raw = c.record
			}
			if string(f.Raw) != c.raw || f.Index != c.index {
				t.Errorf("index %d, raw %.200q; want %d, %.200q", f.Index, f.Raw, c.index, c.raw)
			}
		})
	}
}

func TestNothing(t *testing.T) {
	for _, record := range []string{"", " \n\t\r", "\ufeff", "[]", `{"kind":"EventList","items":[]}`, subscription(eksGroup, eksStream), `{"records":[]}`} {
		if rec := readAll([]byte(record)); len(rec.events)+len(rec.faults)+len(rec.ignored) > 0 {
			t.Errorf("%q: %+v; want nothing", record, rec)
		}
	}
}

func TestIgnored(t *testing.T) {
	for record, kind := range map[string]string{
		`{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE: Checking health of destination"}]}`: EKSControlMessage,
		subscription(eksGroup, "authenticator-0123", `time="x" level=info`):                                                           EKSOtherLog,
		subscription(eksGroup, "kube-apiserver-0123", `I1120 10:00:00`):                                                               EKSOtherLog,
		`{"category":"kube-scheduler","properties":{"log":"I1120"},"resourceId":"` + aksID + `"}`:                                     AKSOtherCategory,
		`{"records":[{"category":"guard","properties":{"log":"{}"}}]}`:                                                                AKSOtherCategory,
		`{"protoPayload":{"methodName":"google.container.v1.ClusterManager.CreateCluster","serviceName":"container.googleapis.com"}}`: GKEOtherService,
		`{"protoPayload":{"methodName":"io.k8s.readyz","serviceName":"k8s.io"}}`:                                                      GKENonResource,
	} {
		rec := readAll([]byte(record))
		if len(rec.events)+len(rec.faults) > 0 || len(rec.ignored) != 1 || rec.ignored[0] != kind {
			t.Errorf("%.100s: events %d, faults %v, ignored %v; want %s ignored", record, len(rec.events), rec.faults, rec.ignored, kind)
		}
	}
}

// TestTruncatedByCloudWatch cuts a real creation at every byte, as a size limit would.
func TestTruncatedByCloudWatch(t *testing.T) {
	full := strings.TrimSuffix(event, "}") + `,"requestObject":{"spec":{"x":"` + strings.Repeat("y", 300) + `"}},"stageTimestamp":"t"}`
	body := strings.Index(full, `,"requestObject"`)
	for cut := range len(full) {
		rec := readAll([]byte(subscription(eksGroup, eksStream, full[:cut]+"[Truncated...]")))
		if len(rec.events)+len(rec.faults) != 1 {
			t.Fatalf("cut at %d: events %d, faults %v; want one of either", cut, len(rec.events), rec.faults)
		}
		if len(rec.faults) == 1 {
			if cut > strings.Index(full, `"stage"`) {
				t.Fatalf("cut at %d: %v; enough was left to tell", cut, rec.faults[0])
			}
			continue
		}
		it := rec.events[0]
		if !it.Truncated || it.Cluster != "prod-1" || it.Time.IsZero() {
			t.Fatalf("cut at %d: %+v; want it truncated, with cluster and time", cut, it)
		}
		if f := Check(it.Event); f != nil {
			t.Fatalf("cut at %d: %s: %v", cut, it.Event, f)
		}
		if cut > body {
			if v := firstWins(t, it.Event); !v.created() || v.ObjectRef.Name != "cart-7" {
				t.Fatalf("cut at %d: %s; the creation got lost", cut, it.Event)
			}
		}
	}
}

func TestManyEvents(t *testing.T) {
	for _, name := range []string{"rr-post-00014.json.gz", "rr-trunc-post-00017.json.gz"} {
		body := readFile(t, "corpus", "dev", "webhook", name)
		var want struct{ Items []json.RawMessage }
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatal(err)
		}
		rec := readAll(body)
		if len(rec.faults) > 0 || len(rec.events) != len(want.Items) || len(want.Items) == 0 {
			t.Fatalf("%s: %d events, faults %v; want %d", name, len(rec.events), rec.faults, len(want.Items))
		}
		for i, it := range rec.events {
			if !bytes.Equal(it.Event, want.Items[i]) || it.Index != i {
				t.Fatalf("%s: item %d came as %d: %.100s", name, i, it.Index, it.Event)
			}
		}
	}
}
