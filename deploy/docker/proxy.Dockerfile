# Caddy with this project's Caddyfile, as an ordinary user: docker build --file deploy/docker/proxy.Dockerfile --tag conversation-assistant/proxy .
# With the digest of a base that you have looked up: --build-arg CADDY_IMAGE=caddy:2.11@sha256:…
ARG CADDY_IMAGE=caddy:2.11
FROM ${CADDY_IMAGE}
RUN mkdir -p /var/lib/caddy && chown 10001:10001 /var/lib/caddy && chmod 0700 /var/lib/caddy
COPY deploy/docker/Caddyfile /etc/caddy/Caddyfile
# Certificates and the local authority's key are kept in a volume; the base's own places for them belong to root.
ENV XDG_DATA_HOME=/var/lib XDG_CONFIG_HOME=/tmp HOME=/tmp
USER 10001:10001
EXPOSE 80 443
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/live"]
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
