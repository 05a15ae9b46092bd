"""Runs roc-validator on a crate without a network; run by the Python of an environment that has it.

``python validate_crate.py FOLDER CONTEXT``: FOLDER holds the crate; CONTEXT is the JSON-LD context of RO-Crate as a
file (``rocrate/data/ro-crate.jsonld``), which stands in for what would be downloaded. Prints each issue; any gives exit
code 1.
"""

import json
import sys
from pathlib import Path

import requests
from rocrate_validator import services
from rocrate_validator.utils.document_loader import install_document_loader
from rocrate_validator.utils.http import HttpRequester

#: https://w3id.org/ro/terms/workflow-run/context adds these to the context of RO-Crate.
RUN_TERMS = {
    name: f"https://w3id.org/ro/terms/workflow-run#{name}"
    for name in (
        *("ParameterConnection", "connection", "sourceParameter", "targetParameter"),
        *("md5", "sha1", "sha256", "sha512"),
    )
}
#: The file is of a later version of RO-Crate, in which this term has another address than in 1.1.
TERMS_1_1 = {"ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow"}


class Offline(requests.Session):
    """Answers with the two contexts, and knows no other address."""

    def __init__(self, context: dict) -> None:
        super().__init__()
        self.bodies = {
            "https://w3id.org/ro/crate/1.1/context": {"@context": context["@context"] | TERMS_1_1},
            "https://w3id.org/ro/terms/workflow-run/context": {"@context": RUN_TERMS},
        }

    def request(self, method: str, url: str, *args, **kwargs) -> requests.Response:  # type: ignore[override]
        answer = requests.Response()
        body = self.bodies.get(url)
        answer.status_code, answer.url = (404 if body is None else 200), url
        answer.headers["Content-Type"] = "application/ld+json"
        answer._content = json.dumps(body).encode()
        return answer


def main(folder: str, context: str) -> int:
    session = Offline(json.loads(Path(context).read_text()))

    def initialize(requester: HttpRequester, *args, **kwargs) -> None:
        requester.session = session

    HttpRequester.__initialize_session__ = initialize
    HttpRequester.reset()
    install_document_loader()
    found = services.validate(
        services.ValidationSettings(
            rocrate_uri=folder, profile_identifier="provenance-run-crate", requirement_severity="REQUIRED"
        )
    )
    for issue in found.get_issues():
        print(issue.severity.name, issue.check.identifier, issue.message, issue.violatingEntity)
    return int(found.has_issues())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
