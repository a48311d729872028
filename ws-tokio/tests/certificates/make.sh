#!/bin/sh
# Makes the certificates of tests/tls.rs anew. They are good until 2120, and the key is no secret: nobody but those tests
# trusts them. `openssl ca`, because it alone can say when a certificate begins, whatever the clock here says.
set -e
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cat > "$work/config" <<END
[ca]
default_ca = tests
[tests]
database = $work/index
serial = $work/serial
new_certs_dir = $work
default_md = sha256
policy = policy
unique_subject = no
[policy]
commonName = supplied
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
subjectAltName = DNS:localhost, IP:127.0.0.1
basicConstraints = CA:FALSE
END
touch "$work/index"
echo 01 > "$work/serial"
make() { # name, signing options
  name=$1
  shift
  openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$work/$name.key"
  openssl req -new -config "$work/config" -key "$work/$name.key" -subj "/CN=ws-tokio tests, $name" -out "$work/$name.csr"
  openssl ca -batch -notext -config "$work/config" -startdate 20200101000000Z -enddate 21200101000000Z \
    -extensions "$name" -in "$work/$name.csr" -out "$name.pem" "$@"
}
make root -selfsign -keyfile "$work/root.key"
make server -cert root.pem -keyfile "$work/root.key"
cp "$work/server.key" server.key
