"""Validates OCSF samples against class detection_finding of OCSF 1.8.0, and shows that planted faults are refused.

usage: ocsf_check.py FOLDER    (every ocsf-*.json in it; .ci/ocsf-check makes the folder)
"""

import copy
import json
import pathlib
import sys

import jsonschema
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema


def drop(*path):
    def edit(finding):
        for key in path[:-1]:
            finding = finding[key]
        del finding[path[-1]]

    return edit


def put(value, *path):
    def edit(finding):
        for key in path[:-1]:
            finding = finding[key]
        finding[path[-1]] = value

    return edit


FAULTS = {
    "no activity": drop("activity_id"),
    "no time": drop("time"),
    "no severity": drop("severity_id"),
    "no metadata": drop("metadata"),
    "no version": drop("metadata", "version"),
    "no product": drop("metadata", "product"),
    "no uid of the finding": drop("finding_info", "uid"),
    "no uid of an image": drop("evidences", 1, "container", "image", "uid"),
    "no operation": drop("evidences", 0, "api", "operation"),
    "no data of an enrichment": drop("enrichments", 0, "data"),
    "another class": put(2003, "class_uid"),
    "another type": put(200301, "type_uid"),
    "time as text": put("2026-11-23T20:15:30Z", "time"),
    "a time with a fraction": put(1.5, "time"),
    "a severity that does not exist": put(42, "severity_id"),
    "an alert flag as text": put("true", "is_alert"),
    "an address that is none": put("nowhere", "evidences", 0, "src_endpoint", "ip"),
    "a field that does not exist": put("x", "outcome"),
    "a nested field that does not exist": put("x", "evidences", 0, "actor", "user", "username"),
    "a label as an object": put([{"a": "b"}], "resources", 0, "labels"),
    "a user without a name": put({"type_id": 1}, "evidences", 0, "actor", "user"),
    "a profile's field without the profile": put({"provider": "x"}, "cloud"),
}


def main():
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0")).get_class_schema("detection_finding", [])
    validator = jsonschema.Draft202012Validator(schema)
    files = sorted(pathlib.Path(sys.argv[1]).glob("ocsf-*.json"))
    if len(files) < 10:
        sys.exit(f"expected the samples of the Go tests in {sys.argv[1]}, found {len(files)}")
    bad = 0
    for file in files:
        finding = json.loads(file.read_text())
        for error in validator.iter_errors(finding):
            bad += 1
            print(f"{file.name}: {error.json_path}: {error.message[:300]}")
        if finding["type_uid"] != finding["class_uid"] * 100 + finding["activity_id"]:
            bad += 1
            print(f"{file.name}: type_uid {finding['type_uid']} is not class_uid * 100 + activity_id")
    sample = json.loads((pathlib.Path(sys.argv[1]) / "ocsf-enriched.json").read_text())
    for name, edit in FAULTS.items():
        planted = copy.deepcopy(sample)
        edit(planted)
        if validator.is_valid(planted):
            bad += 1
            print(f"planted fault taken: {name}")
    print(f"{len(files)} samples, {len(FAULTS)} planted faults, {bad} problems")
    sys.exit(1 if bad else 0)


main()
