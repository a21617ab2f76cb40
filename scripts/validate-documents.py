"""Reads the documents of a release with the tools of those who made their formats; see scripts/validate-documents.

    validate-documents.py DIST|FILE...
"""
import json
import os
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from license_expression import get_spdx_licensing
from packageurl import PackageURL
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

LICENCES = get_spdx_licensing()


def spdx(path):
    for message in validate_full_spdx_document(parse_file(path)):
        yield message.validation_message
    with open(path) as file:
        document = json.load(file)
    for package in document["packages"]:
        yield from licence(package["name"], package["licenseDeclared"])
        for reference in package.get("externalRefs", []):
            if reference["referenceType"] == "purl":
                yield from purl(reference["referenceLocator"], package.get("versionInfo"))


def cyclonedx(path):
    with open(path) as file:
        text = file.read()
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        yield str(error).splitlines()[0]
    document = json.loads(text)
    references = [document["metadata"]["component"]["bom-ref"]]
    for component in document["components"]:
        references.append(component["bom-ref"])
        for key in ("name", "version"):
            if not component.get(key):
                yield f"{component['bom-ref']} has no {key}"
        if not component.get("licenses"):
            yield f"{component['name']} has no licence"
        if not component.get("purl") and not component.get("cpe"):
            yield f"{component['name']} has neither a package URL nor a CPE"
        if "purl" in component:
            yield from purl(component["purl"], component.get("version"))
        for entry in component.get("licenses", []):
            yield from licence(component["name"], entry.get("expression", "NOASSERTION"))
    for dependency in document["dependencies"]:
        for reference in [dependency["ref"], *dependency.get("dependsOn", [])]:
            if reference not in references:
                yield f"it depends on {reference}, which it does not list"


def statements(path):
    with open(path) as file:
        lines = [line for line in file if line.strip()]
    if not lines:
        yield "no statement"
    for line in lines:
        message = json_format.Parse(line, statement_pb2.Statement())
        try:
            Statement.copy_from_pb(message).validate()
        except ValueError as error:
            yield str(error)
        if message.predicate_type != "https://slsa.dev/provenance/v1":
            continue
        # What protobuf does not know is an error.
        predicate = json_format.Parse(json.dumps(json.loads(line)["predicate"]), provenance_pb2.Provenance())
        if not predicate.build_definition.build_type or not predicate.run_details.builder.id:
            yield "no build type or no builder"
        for resource in predicate.build_definition.resolved_dependencies:
            try:
                ResourceDescriptor.copy_from_pb(resource).validate()
            except ValueError as error:
                yield f"{resource.uri}: {error}"


def purl(text, version):
    try:
        named = PackageURL.from_string(text)
    except ValueError as error:
        yield f"{text}: {error}"
        return
    if named.version != version:
        yield f"{text} is of version {named.version}, the component of {version}"


def licence(name, text):
    if text == "NOASSERTION" or "LicenseRef-" in text:
        return
    for error in LICENCES.validate(text).errors:
        yield f"{name}: {text}: {error}"


FORMS = {".spdx.json": spdx, ".cdx.json": cyclonedx, ".intoto.jsonl": statements}


def main(places):
    paths = []
    for place in places:
        inside = sorted(os.listdir(place)) if os.path.isdir(place) else None
        paths += [place] if inside is None else [os.path.join(place, name) for name in inside]
    read = wrong = 0
    for path in paths:
        check = next((check for ending, check in FORMS.items() if path.endswith(ending)), None)
        if check is None:
            continue
        read += 1
        try:
            faults = list(check(path))
        except Exception as error:                      # whatever a reader refuses with
            faults = [f"{type(error).__name__}: {error}"]
        wrong += bool(faults)
        print(f"{path}: {'not valid' if faults else 'valid'}")
        for fault in faults:
            print("   ", fault)
    if not read:
        print("no document: name a release directory, or .spdx.json, .cdx.json and .intoto.jsonl files", file=sys.stderr)
        sys.exit(2)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
