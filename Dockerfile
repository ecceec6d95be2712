# `regard serve` in a container: docker build -t regard . && docker run -p 8000:8000 -e REGARD_TOKEN=... regard
FROM python:3.12-slim
COPY . /regard
RUN pip install --no-cache-dir --constraint /regard/constraints.txt '/regard[serve]'
VOLUME /handles
EXPOSE 8000
CMD ["regard", "serve", "tables", "--host", "0.0.0.0", "--folder", "/handles"]
