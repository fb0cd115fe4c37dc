"""One fault at a time, planted in a good rendering: each rule of `rules.py` must find its own."""

import copy

import rules
from tally import holds


def _pod(objects, component="gateway"):
    return next(
        spec for name, _, spec in rules.templates(objects) if name.endswith(component)
    )


def _container(objects):
    return _pod(objects)["containers"][0]


def _volume(objects, name):
    return next(each for each in _pod(objects)["volumes"] if each["name"] == name)


def _variable(objects, name):
    return next(each for each in _container(objects)["env"] if each["name"] == name)


def _kind(objects, kind):
    return rules.of_kind(objects, kind)[0]


def _rule(objects, kind="Role"):
    return _kind(objects, kind)["rules"][0]


# What is done to the objects, and a word of the fault that must be found.
FAULTS = [
    (lambda o: _container(o)["securityContext"].update(privileged=True), "privileged"),
    (lambda o: _container(o)["securityContext"].pop("readOnlyRootFilesystem"), "readOnly"),
    (lambda o: _container(o)["securityContext"].update(capabilities={"add": ["NET_ADMIN"]}), "dropped"),
    (lambda o: _container(o)["securityContext"].pop("allowPrivilegeEscalation"), "Escalation"),
    (lambda o: _container(o)["resources"].pop("requests"), "requests"),
    (lambda o: _container(o).pop("readinessProbe"), "no readinessProbe"),
    (lambda o: _container(o)["ports"][0].update(name="other"), "no port http"),
    (lambda o: _container(o)["volumeMounts"].pop(), "mounts"),
    (lambda o: _pod(o).update(hostNetwork=True), "hostNetwork"),
    (lambda o: _pod(o)["securityContext"].pop("seccompProfile"), "seccomp"),
    (lambda o: _pod(o)["securityContext"].update(runAsNonRoot=False), "runAsNonRoot"),
    (lambda o: _pod(o)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}), "not allowed"),
    (lambda o: _pod(o).update(automountServiceAccountToken=True), "carries a token"),
    (lambda o: _pod(o).update(terminationGracePeriodSeconds=20), "drain"),
    (lambda o: _pod(o)["tolerations"].pop(), "stays on a lost node"),
    (lambda o: _pod(o, "operator")["tolerations"][0].update(tolerationSeconds=300), "stays on a lost node"),
    (lambda o: _pod(o)["topologySpreadConstraints"].pop(), "spread over"),
    (lambda o: _pod(o)["topologySpreadConstraints"][0].pop("nodeTaintsPolicy"), "no pods counts"),
    (lambda o: _pod(o)["topologySpreadConstraints"][0].pop("matchLabelKeys"), "former rollout"),
    (lambda o: _volume(o, "state")["emptyDir"].pop("sizeLimit"), "no bound"),
    (lambda o: _volume(o, "state")["emptyDir"].pop("medium"), "access keys to a disk"),
    (lambda o: _volume(o, "metrics")["secret"].pop("defaultMode"), "mode None"),
    (lambda o: _volume(o, "metrics")["secret"].update(defaultMode=0o444), "mode 0o444"),
    (lambda o: _volume(o, "metrics")["secret"].update(secretName="other"), "holds other"),
    (lambda o: _variable(o, "MILLSTREAM_METRICS_TOKEN_FILE").update(value="/t"), "ask for no token"),
    (lambda o: _kind(o, "PodMonitor")["spec"]["podMetricsEndpoints"][0].pop("authorization"), "another token"),
    (lambda o: _kind(o, "PodMonitor")["spec"]["podMetricsEndpoints"][0].update(port="rpc"), "no port rpc"),
    (lambda o: _kind(o, "PodMonitor")["spec"]["selector"]["matchLabels"].clear(), "selects by"),
    (lambda o: _rule(o).update(verbs=["*"]), "wildcard"),
    (lambda o: _rule(o).update(resources=["*"]), "wildcard"),
    (lambda o: _rule(o).update(verbs=["bind"]), "other rights"),
    (lambda o: _rule(o).update(resources=["pods/exec"]), "other rights"),
    (lambda o: _rule(o).update(resources=["secrets"], verbs=["patch"]), "any Secret"),
    (lambda o: _rule(o).update(resources=["configmaps"], verbs=["patch"]), "any ConfigMap"),
    (lambda o: _rule(o, "ClusterRole").update(verbs=["create", "get"]), "whole cluster"),
    (lambda o: _kind(o, "RoleBinding")["subjects"][0].update(name="millstream-gateway"), "gives rights"),
    (lambda o: _kind(o, "Service")["spec"]["selector"].pop("app.kubernetes.io/component"), "selects"),
    (lambda o: _kind(o, "Service")["metadata"]["labels"].pop("helm.sh/chart"), "no label"),
]


def check(good):
    """Plants every fault."""
    holds(not rules.all_faults(good), f"the good rendering has faults: {rules.all_faults(good)}")
    for number, (plant, word) in enumerate(FAULTS):
        objects = copy.deepcopy(good)
        plant(objects)
        found = rules.all_faults(objects)
        holds(any(word in fault for fault in found), f"fault {number}: {word!r} not in {found}")
    objects = copy.deepcopy(good)
    names = [each["name"] for each in _container(objects)["env"]]
    known = " ".join(f"`{name}`" for name in names)
    _container(objects)["env"].append({"name": "MILLSTREAM_LISTN", "value": "0.0.0.0:1"})
    gateways = [each for each in objects if each["metadata"]["name"].endswith("gateway")]
    found = rules.variables(gateways, known)
    holds(len(found) == 1 and "MILLSTREAM_LISTN" in found[0], f"a misspelled variable: {found}")
