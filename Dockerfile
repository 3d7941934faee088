# The agent, for `pointsman render compose`: docker build -t pointsman:0.1.0 .
FROM python:3.13-slim
COPY . /src
RUN pip install --no-cache-dir -c /src/constraints.txt /src && rm -r /src \
    && useradd --system --uid 10001 --home-dir /var/lib/pointsman --create-home pointsman
USER pointsman
# Where there are NVIDIA's GPUs: to read them is all that is wanted.
ENV NVIDIA_DRIVER_CAPABILITIES=utility
VOLUME /var/lib/pointsman
HEALTHCHECK --start-period=30s CMD ["pointsman", "status", "--json", "--fleet", "/etc/pointsman/fleet.yaml"]
ENTRYPOINT ["pointsman"]
CMD ["serve", "--fleet", "/etc/pointsman/fleet.yaml", "--state", "/var/lib/pointsman/learned.json"]
