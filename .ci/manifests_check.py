"""Holds the custom resources of a rendered kustomization to their CRDs, strictly, and its references to each other.

usage: manifests_check.py EXPECTED FILE FOLDER_OF_CRDS...

EXPECTED is how many resources another validator had no schema for: exactly those must be known here.
"""
import pathlib
import sys

import jsonschema
import yaml


def strict(schema):
    """The schema with every object closed that says what it holds, in the way of the API server's strict field validation."""
    if isinstance(schema, list):
        return [strict(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    out = {k: {n: strict(s) for n, s in v.items()} if k == "properties" else strict(v) if k in ("items", "additionalProperties", "allOf", "anyOf", "oneOf") else v for k, v in schema.items()}
    if "properties" in out and "additionalProperties" not in out and not out.get("x-kubernetes-preserve-unknown-fields"):
        out["additionalProperties"] = False
    if out.get("nullable") and "type" in out:
        out["type"] = [out["type"], "null"]
    return out


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Reads a plain = as the text that it is (YAML 1.1 gave it a tag of its own, for which PyYAML has no meaning)."""


Loader.add_constructor("tag:yaml.org,2002:value", Loader.construct_yaml_str)


def schemas(folders, kinds):
    found = {}
    for folder in folders:
        for path in pathlib.Path(folder).glob("*.yaml"):
            text = path.read_text()
            if not any(f"kind: {k}\n" in text for k in kinds):
                continue
            for crd in yaml.load_all(text, Loader):
                if not crd or crd.get("kind") != "CustomResourceDefinition":
                    continue
                spec = crd["spec"]
                for version in spec["versions"]:
                    schema = strict(version["schema"]["openAPIV3Schema"])
                    schema["properties"].update(metadata={"type": "object"}, apiVersion={"type": "string"}, kind={"type": "string"})
                    found[spec["group"] + "/" + version["name"], spec["names"]["kind"]] = schema
    return found


def fits(selector, labels):
    return bool(selector) and all(labels.get(k) == v for k, v in selector.items())


def references(docs):
    """What one resource says of another must be there."""
    def all_of(kind):
        return [d for d in docs if d["kind"] == kind]

    names = {(d["kind"], d["metadata"]["name"]) for d in docs}
    faults = []

    def need(kind, name, by):
        if (kind, name) not in names:
            faults.append(f"{by['kind']} {by['metadata']['name']}: there is no {kind} {name}")

    for d in docs:
        if d["kind"] not in ("Namespace", "ClusterRole", "ClusterRoleBinding") and d["metadata"].get("namespace") != "spawnwatch":
            faults.append(f"{d['kind']} {d['metadata']['name']}: expected namespace spawnwatch")
    templates = []
    for d in all_of("Deployment"):
        template = d["spec"]["template"]
        templates.append(template)
        if not fits(d["spec"]["selector"]["matchLabels"], template["metadata"]["labels"]):
            faults.append("Deployment: its selector does not fit its Pods")
        need("ServiceAccount", template["spec"]["serviceAccountName"], d)
        for volume in template["spec"].get("volumes", []):
            if "configMap" in volume:
                need("ConfigMap", volume["configMap"]["name"], d)
        mounted = {v["name"] for v in template["spec"].get("volumes", [])}
        for container in template["spec"]["containers"]:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in mounted:
                    faults.append(f"Deployment: no volume {mount['name']}")
    pod_ports = {p["name"] for t in templates for c in t["spec"]["containers"] for p in c.get("ports", [])}
    for kind, path in (("HorizontalPodAutoscaler", ("scaleTargetRef",)), ("ScaledObject", ("scaleTargetRef",))):
        for d in all_of(kind):
            need("Deployment", d["spec"][path[0]]["name"], d)
    for d in all_of("ScaledObject"):
        for trigger in d["spec"]["triggers"]:
            if "authenticationRef" in trigger:
                need("TriggerAuthentication", trigger["authenticationRef"]["name"], d)
    if all_of("HorizontalPodAutoscaler") and all_of("ScaledObject"):
        faults.append("a ScaledObject makes its own HorizontalPodAutoscaler: expected one of them")
    for kind, selector in (("PodDisruptionBudget", lambda s: s["selector"]["matchLabels"]), ("NetworkPolicy", lambda s: s["podSelector"]["matchLabels"]), ("Service", lambda s: s["selector"])):
        for d in all_of(kind):
            if not any(fits(selector(d["spec"]), t["metadata"]["labels"]) for t in templates):
                faults.append(f"{kind} {d['metadata']['name']}: its selector fits no Pod")
    for d in all_of("Service"):
        for port in d["spec"]["ports"]:
            if port["targetPort"] not in pod_ports:
                faults.append(f"Service {d['metadata']['name']}: no container has the port {port['targetPort']}")
    for d in all_of("NetworkPolicy"):
        for rule in d["spec"].get("ingress", []):
            for port in rule.get("ports", []):
                if isinstance(port["port"], str) and port["port"] not in pod_ports:
                    faults.append(f"NetworkPolicy {d['metadata']['name']}: no container has the port {port['port']}")
    service_ports = {p["name"] for d in all_of("Service") if fits({"app.kubernetes.io/name": "spawnwatch"}, d["metadata"].get("labels", {})) for p in d["spec"]["ports"]}
    for d in all_of("ServiceMonitor"):
        for endpoint in d["spec"]["endpoints"]:
            if endpoint["port"] not in service_ports:
                faults.append(f"ServiceMonitor: no Service has the port {endpoint['port']}")
    return faults


def main():
    expected, path = int(sys.argv[1]), sys.argv[2]
    docs = [d for d in yaml.load_all(pathlib.Path(path).read_text(), Loader) if d]
    known = schemas(sys.argv[3:], {d["kind"] for d in docs})
    faults, checked = references(docs), 0
    for d in docs:
        schema = known.get((d["apiVersion"], d["kind"]))
        if schema is None:
            continue
        checked += 1
        for e in jsonschema.Draft202012Validator(schema).iter_errors(d):
            faults.append(f"{d['kind']} {d['metadata']['name']}: {'.'.join(map(str, e.absolute_path))}: {e.message[:300]}")
    if checked != expected:
        faults.append(f"{expected} resources have no schema of Kubernetes' own, {checked} fit a CRD that is known here")
    for fault in faults:
        print(f"{pathlib.Path(path).stem}: {fault}", file=sys.stderr)
    if faults:
        sys.exit(1)
    if checked:
        print(f"  and {checked} custom resources fit their CRDs, strictly")


main()
