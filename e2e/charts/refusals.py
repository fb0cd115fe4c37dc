"""Values that must be refused, and the words that tell their author why."""

import helm
from tally import holds

# Options of helm, and what its answer must contain.
TABLE = [
    (["--set", "gatway.replicas=3"], ["gatway", "not allowed"]),
    (["--set", "gateway.replica=3"], ["/gateway", "'replica' not allowed"]),
    (["--set", "gateway.replicas=0"], ["/gateway/replicas", "minimum"]),
    (["--set-string", "gateway.replicas=two"], ["/gateway/replicas", "integer"]),
    (["--set", "region=Europe"], ["/region", "pattern"]),
    (["--set", "images.pullPolicy=Sometimes"], ["/images/pullPolicy", "'IfNotPresent'"]),
    (["--set", "images.server.digest=sha256:12"], ["/images/server/digest", "pattern"]),
    (["--set", "images.server.repository="], ["/images/server/repository"]),
    (["--set-string", "accounts.team=12"], ["/accounts/team", "pattern"]),
    (["--set-json", 'watchNamespaces=["*","a"]'], ["/watchNamespaces", "want 1"]),
    (["--set-json", 'watchNamespaces=["a","a"]'], ["/watchNamespaces", "are equal"]),
    (["--set-json", 'watchNamespaces=["A"]'], ["/watchNamespaces/0", "pattern"]),
    (["--set-json", "poolClasses=null"], ["missing property", "poolClasses"]),
    (["--set", "poolClasses.Fast.shardsPerPod=1"], ["/poolClasses", "'Fast' not allowed"]),
    (["--set", "poolClasses.default.storage.size=20GB"], ["/poolClasses/default/storage/size"]),
    (["--set", "poolClasses.default.storge.size=20Gi"], ["/poolClasses/default", "'storge' not allowed"]),
    (["--set", "poolClasses.default.spread.zone=Maybe"], ["/poolClasses/default/spread/zone"]),
    (["--set", "poolClasses.default.settings.memory-bytes=7"], ["/poolClasses/default/settings", "string"]),
    (["--set", "poolClasses.default.settings.memory-byte=1GiB"], ["/default/settings", "'memory-byte' not allowed"]),
    (["--set-string", "poolClasses.default.settings.drain-seconds=9"], ["/settings", "'drain-seconds' not allowed"]),
    (["--set", "poolClasses.default.settings.segment-bytes=1GB"], ["/settings/segment-bytes", "pattern"]),
    (["--set", "gateway.settings.memory-bytes=1GB"], ["/gateway/settings/memory-bytes", "pattern"]),
    (["--set", "gateway.settings.listen=0.0.0.0:1"], ["/gateway/settings", "'listen' not allowed"]),
    (["--set", "gateway.settings.limits=unlimited"], ["/gateway/settings", "'limits' not allowed"]),
    (["--set", "poolClasses.default.pods.min=9"], ["poolClasses.default.pods: min 9 is above max 8"]),
    (["--set", "poolClasses.fast.pods.min=9"], ["poolClasses.fast.pods: min 9 is above max 8"]),
    (
        ["--set-string", "accounts.a=000000000001,accounts.b=000000000001"],
        ["accounts.b: 000000000001 is the account of a too"],
    ),
    (["--set", "gateway.tls.secretName=x"], ["do nothing without gateway.tls.enabled: true"]),
    (["--set", "gateway.tls.selfSigned=true"], ["do nothing without gateway.tls.enabled: true"]),
    (["--set", "gateway.tls.enabled=true"], ["gateway.tls.secretName", "selfSigned: true"]),
    (
        ["--set", "gateway.tls.enabled=true,gateway.tls.selfSigned=true,gateway.tls.secretName=x"],
        ["exclude each other"],
    ),
    (["--set-json", 'podMonitor.namespaces=["*"]'], ["/podMonitor/namespaces/0", "pattern"]),
    (["--set", "podMonitor.token=x"], ["/podMonitor", "'token' not allowed"]),
    (["--set", "serviceMonitor.enabled=true"], ["serviceMonitor.bearerTokenSecret", "token"]),
    (["--set", "operator.lease.durationSeconds=1"], ["/operator/lease/durationSeconds", "minimum"]),
    (["--set-string", "operator.podLabels.app\\.kubernetes\\.io/name=x"], ["operator.podLabels", "choose another label"]),
    (["--set", "gateway.spread.host=Maybe"], ["/gateway/spread/host", "'DoNotSchedule'"]),
    (["--set", "gateway.nodeLossSeconds=-1"], ["/gateway/nodeLossSeconds", "minimum"]),
    (["--set", "gateway.service.type=ExternalName"], ["/gateway/service/type", "'LoadBalancer'"]),
]


def check(options, words):
    """One row."""
    try:
        helm.helm("template", helm.RELEASE, helm.MAIN, *options)
    except helm.Refused as refused:
        for word in words:
            holds(word in str(refused), f"{refused} lacks {word!r}")
        return
    raise AssertionError("accepted")
