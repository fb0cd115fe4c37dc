"""The charts against a real API server: accepted, installed, upgraded, removed; rights as they act.

There are no controllers, so nothing runs; what is tried is what the API server decides.
"""

import json

import helm
import operator_process
import rules
from tally import equal, holds

OPERATOR = f"system:serviceaccount:{helm.NAMESPACE}:millstream-operator"
GATEWAY = f"system:serviceaccount:{helm.NAMESPACE}:millstream-gateway"
# Kinds that need custom resources of others.
FOREIGN = ("PodMonitor", "ServiceMonitor", "PrometheusRule")
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/datastreams.millstream.dev"

# Who, verb, group, resource, name, namespace, and whether it is allowed when team-a is watched.
RIGHTS = [
    (OPERATOR, "patch", "millstream.dev", "datastreams", "", "team-a", True),
    (OPERATOR, "patch", "millstream.dev", "datastreams/status", "", "team-a", True),
    (OPERATOR, "list", "", "secrets", "", "team-a", True),
    (OPERATOR, "patch", "", "secrets", "", "team-a", False),
    (OPERATOR, "create", "", "secrets", "", "team-a", True),
    (OPERATOR, "update", "", "secrets", "millstream-metrics", "team-a", True),
    (OPERATOR, "update", "", "secrets", "loader", "team-a", False),
    (OPERATOR, "delete", "", "secrets", "millstream-metrics", "team-a", False),
    (OPERATOR, "create", "", "secrets", "", "default", False),
    (OPERATOR, "patch", "apps", "statefulsets", "", "team-a", True),
    (OPERATOR, "delete", "", "pods", "", "team-a", True),
    # A pool that is given up goes, which needs its pods: tried on a cluster.
    (OPERATOR, "delete", "apps", "statefulsets", "", "team-a", True),
    (OPERATOR, "delete", "", "services", "", "team-a", True),
    (OPERATOR, "delete", "", "serviceaccounts", "", "team-a", True),
    (OPERATOR, "delete", "", "configmaps", "", "team-a", True),
    (OPERATOR, "patch", "", "configmaps", "millstream-ca-bundle", "team-a", True),
    (OPERATOR, "patch", "", "configmaps", "settings", "team-a", False),
    (OPERATOR, "patch", "", "configmaps", "millstream-ca-bundle", helm.NAMESPACE, True),
    (OPERATOR, "patch", "", "configmaps", "millstream-operator", helm.NAMESPACE, False),
    (OPERATOR, "delete", "policy", "poddisruptionbudgets", "", "team-a", True),
    (OPERATOR, "delete", "networking.k8s.io", "networkpolicies", "", "team-a", True),
    (OPERATOR, "create", "", "pods", "", "team-a", False),
    (OPERATOR, "create", "", "pods/exec", "", "team-a", False),
    (OPERATOR, "delete", "", "persistentvolumeclaims", "", "team-a", False),
    (OPERATOR, "patch", "millstream.dev", "datastreams", "", "default", False),
    (OPERATOR, "list", "", "secrets", "", "default", False),
    (OPERATOR, "list", "", "secrets", "", "", False),
    (OPERATOR, "update", "", "secrets", "millstream-ca", helm.NAMESPACE, True),
    (OPERATOR, "update", "", "secrets", "millstream-metrics", helm.NAMESPACE, True),
    (OPERATOR, "update", "", "secrets", "other", helm.NAMESPACE, False),
    (OPERATOR, "list", "", "secrets", "", helm.NAMESPACE, False),
    (OPERATOR, "update", "coordination.k8s.io", "leases", "millstream-operator", helm.NAMESPACE, True),
    (OPERATOR, "update", "coordination.k8s.io", "leases", "other", helm.NAMESPACE, False),
    (OPERATOR, "create", "authentication.k8s.io", "tokenreviews", "", "", True),
    (OPERATOR, "create", "authorization.k8s.io", "subjectaccessreviews", "", "", True),
    (OPERATOR, "list", "", "namespaces", "", "", True),
    (OPERATOR, "delete", "", "namespaces", "team-a", "", False),
    (OPERATOR, "list", "storage.k8s.io", "storageclasses", "", "", False),
    (OPERATOR, "create", "rbac.authorization.k8s.io", "roles", "", "team-a", False),
    (OPERATOR, "list", "", "nodes", "", "", False),
    (GATEWAY, "list", "", "secrets", "", helm.NAMESPACE, False),
    (GATEWAY, "get", "", "configmaps", "millstream-operator", helm.NAMESPACE, False),
    (GATEWAY, "get", "millstream.dev", "datastreams", "", "team-a", False),
    (GATEWAY, "create", "authentication.k8s.io", "tokenreviews", "", "", False),
]


def all_checks(tally, server):
    """Every check of this module."""
    with tally.check("namespaces with the level `restricted`"):
        for name in (helm.NAMESPACE, "team-a", "team-b"):
            labels = {"pod-security.kubernetes.io/enforce": "restricted"}
            body = {"metadata": {"name": name, "labels": labels}}
            equal(server.call("POST", "/api/v1/namespaces", body)[0], 201)
    with tally.check("millstream-crds installs"):
        install(server, "crds", helm.CRDS)
        equal(server.call("GET", CRD)[0], 200)
    for name, values in helm.cases().items():
        with tally.check(f"{name}: the API server takes every object, strictly"):
            dry_run(server, values)
        with tally.check(f"{name}: every pod is admitted to a restricted namespace"):
            admit(server, values)
    with tally.check("millstream installs, and its notes say how to go on"):
        values = "watchNamespaces={team-a},accounts.team-a=000000000001"
        notes = install(server, helm.RELEASE, helm.MAIN, "--set", values)
        for words in ("create secret generic", "--endpoint-url", "apply -f", "-n team-a"):
            holds(words in notes, f"the notes lack {words!r}")
        holds("WARNING" not in notes, "a warning without a cause")
    for who, verb, group, resource, name, namespace, allowed in RIGHTS:
        right = f"{who.rsplit(':', 1)[1]} {verb} {resource} {name} in {namespace or 'the cluster'}"
        with tally.check(f"rights: {right}: {'yes' if allowed else 'no'}"):
            equal(may(server, who, verb, group, resource, name, namespace), allowed)
    operator_process.all_checks(tally, server)
    with tally.check("an upgrade with TLS keeps the values that were set before"):
        option = "gateway.tls.enabled=true,gateway.tls.secretName=millstream-tls"
        install(server, helm.RELEASE, helm.MAIN, "--reset-then-reuse-values", "--set", option)
        path = f"/api/v1/namespaces/{helm.NAMESPACE}/services/millstream"
        ports = server.call("GET", path)[1]["spec"]["ports"]
        equal([(port["port"], port["targetPort"]) for port in ports], [(80, "http"), (443, "https")])
        holds(may(server, OPERATOR, "list", "", "secrets", "", "team-a"), "team-a was forgotten")
    with tally.check("a second release cannot serve the same namespace"):
        second_is_refused(server, ["team-a"], "millstream-operator-watched")
    with tally.check("a second release cannot serve every namespace"):
        words = f"the release in the namespace {helm.NAMESPACE} serves the namespace team-a already"
        second_is_refused(server, ["*"], words)
    with tally.check("an upgrade to every namespace is taken, and warns"):
        notes = install(server, helm.RELEASE, helm.MAIN, "--set-json", 'watchNamespaces=["*"]')
        holds("WARNING" in notes and "every Secret" in notes, "no warning about watchNamespaces")
        holds(may(server, OPERATOR, "list", "", "secrets", "", "default"), "default is not watched")
    with tally.check("beside a release that serves every namespace there is no second one"):
        for namespaces in (["team-b"], ["*"], []):
            words = f"the release in the namespace {helm.NAMESPACE} serves every namespace already"
            second_is_refused(server, namespaces, words)
    with tally.check("a release that served every namespace goes back to one, and leaves room for a second"):
        install(server, helm.RELEASE, helm.MAIN, "--set", "watchNamespaces={team-a}")
        install(server, "second", helm.MAIN, "--namespace", "team-b")
        helm.helm("uninstall", "second", "--namespace", "team-b", kubeconfig=server.kubeconfig)
    with tally.check("uninstalling leaves the definitions and the streams"):
        uninstall(server)


def install(server, release, chart, *options):
    """Installs or upgrades, without waiting for pods that nobody runs."""
    return helm.helm(
        "upgrade", "--install", release, chart, "--namespace", helm.NAMESPACE, *options,
        kubeconfig=server.kubeconfig,
    )


def second_is_refused(server, namespaces, words):
    """Another release, in team-b, may not serve these namespaces."""
    option = f"watchNamespaces={json.dumps(namespaces)}"
    try:
        install(server, "second", helm.MAIN, "--namespace", "team-b", "--set-json", option)
    except helm.Refused as refused:
        holds(words in str(refused), str(refused))
    else:
        raise AssertionError(f"two operators would serve {namespaces}")


def uninstall(server):
    """Removes both charts while a stream is there."""
    stream = {
        "apiVersion": "millstream.dev/v1alpha1", "kind": "DataStream",
        "metadata": {"name": "kept"}, "spec": {},
    }
    path = "/apis/millstream.dev/v1alpha1/namespaces/team-a/datastreams"
    equal(server.call("POST", path, stream)[0], 201)
    for release in (helm.RELEASE, "crds"):
        helm.helm("uninstall", release, "--namespace", helm.NAMESPACE, kubeconfig=server.kubeconfig)
    equal(server.call("GET", CRD)[0], 200, "the definition")
    equal(server.call("GET", f"{path}/kept")[0], 200, "the stream")
    left = server.call("GET", f"/apis/apps/v1/namespaces/{helm.NAMESPACE}/deployments")[1]["items"]
    equal([each["metadata"]["name"] for each in left], [], "deployments left")
    # The chart can be installed over what it left.
    install(server, "crds", helm.CRDS)


def dry_run(server, values):
    """Sends every object, to be checked and thrown away."""
    wanted = [each for each in helm.objects(helm.template(values)) if each["kind"] not in FOREIGN]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
    code, out, err = server.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text
    )
    equal(code, 0, err + out)
    holds("Warning" not in err, err)


def admit(server, values):
    """Asks for a pod of each template where Pod Security enforces the level."""
    for name, metadata, spec in rules.templates(helm.objects(helm.template(values))):
        spec = {key: value for key, value in spec.items() if key != "priorityClassName"}
        pod = {
            "apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": "probe", "labels": metadata["labels"]},
        }
        path = f"/api/v1/namespaces/{helm.NAMESPACE}/pods?dryRun=All&fieldValidation=Strict"
        code, answer = server.call("POST", path, pod)
        equal(code, 201, f"{name}: {answer.get('message')}")
        spec["containers"][0]["securityContext"]["privileged"] = True
        spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
        code, answer = server.call("POST", path, pod)
        holds(code == 403 and "restricted" in answer["message"], "Pod Security is not enforced")


def may(server, who, verb, group, resource, name, namespace):
    """What the API server's authorizer says."""
    resource, _, subresource = resource.partition("/")
    body = {"spec": {"user": who, "resourceAttributes": {
        "verb": verb, "group": group, "resource": resource, "subresource": subresource,
        "name": name, "namespace": namespace,
    }}}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    code, answer = server.call("POST", path, body)
    equal(code, 201, answer.get("message"))
    return answer["status"]["allowed"]
