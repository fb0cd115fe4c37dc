# The images `millstream` (data plane) and `millstream-operator`.
#
# It compiles nothing: `make images` puts the built and stripped programs and the few libraries of
# glibc that they are linked to into the context, so that it also builds where no registry can be
# reached, by buildah without a daemon. `docker build --target millstream CONTEXT` does the same with
# the context that `python3 e2e/images/build.py --context-only FOLDER` leaves.

FROM scratch AS base
# lib/ and lib64/ as the programs look for them, etc/ with the user and the order of name look-ups.
COPY root/ /
# Nobody: the number, because `runAsNonRoot` cannot judge a name.
USER 65532:65532
WORKDIR /

FROM base AS millstream-operator
LABEL org.opencontainers.image.title="millstream-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY bin/millstream-operator /usr/bin/millstream-operator
ENTRYPOINT ["/usr/bin/millstream-operator"]

FROM base AS millstream
LABEL org.opencontainers.image.title="millstream" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY bin/millstream /usr/bin/millstream
ENTRYPOINT ["/usr/bin/millstream"]
CMD ["server"]
