# Servers around Moorline: proxies and a registrar by Kamailio, and FreeRADIUS.

# start_proxy NAMESPACE IP NEXT_HOP: a proxy at port 5060 of that address, which passes calls on to a host and port (with
# parameters), and stays in their dialogs.
start_proxy() {
    start_kamailio "$1" "$2" kamailio.cfg -e "s/NEXT_HOP/$3/"
}

# start_registrar: the carrier's proxy with accounts, which passes Moorline's calls on to the carrier.
start_registrar() {
    start_kamailio carrier "$carrier_proxy_ip" registrar.cfg -e "s/GATEWAY/$carrier_ip:5060/; s/CUSTOMER/$sbc_carrier_ip/"
}

# start_kamailio NAMESPACE IP CONFIGURATION EDIT...: by that file of peers/, which sed edits.
start_kamailio() {
    needs kamailio kamailio
    local namespace=$1 ip=$2
    sed -e "s/LISTEN$/$ip:5060/; s/ADDRESS$/$ip/" "${@:4}" "$lab_dir/peers/$3" >"kamailio-$namespace.cfg"
    start "kamailio-$namespace" "$namespace" kamailio -f "$PWD/kamailio-$namespace.cfg" -E -DD -m 64 -M 8 \
        -Y "$PWD" -P "$PWD/kamailio-$namespace.pid"
    await "Kamailio in $namespace" listens "$namespace" "$ip:5060"
}

# start_radius: FreeRADIUS beside Moorline, with one user: 6000.
start_radius() {
    needs freeradius freeradius
    mkdir -p radius
    sed "s|DIRECTORY|$PWD/radius|" "$lab_dir/peers/radiusd.conf" >radius/radiusd.conf
    echo '6000 Cleartext-Password := "1234"' >radius/users
    start radius sbc freeradius -f -l stdout -n radiusd -d "$PWD/radius"
    radius_pid=$started
    await "FreeRADIUS" listens sbc 127.0.0.1:1812
}

# kamailio_calls TRANSPORT [OPTION]: SIPp calls SIPp by way of a proxy, Moorline, and another proxy. The proxies speak
# that transport to Moorline, and UDP to SIPp. The option is of end_phone_test.
kamailio_calls() {
    local transport=$1 hangup side
    write_config
    add_trunk proxied 7 "sip:$carrier_proxy_ip:5060;transport=$transport"
    make_speech 3
    start_proxy core "$core_proxy_ip" "$sbc_core_ip:5060;transport=$transport"
    start_proxy carrier "$carrier_proxy_ip" "$carrier_ip:5060"
    start_moorline
    start_captures
    start_sipp called carrier "$carrier_ip" 5060 -sf "$lab_dir/scenarios/uas-reinvite.xml" -mp 20000 -rtp_echo
    called_pid=$started
    await "SIPp in carrier" grep -qs . sipp-called.csv
    for hangup in caller callee; do
        start_sipp "$hangup" core "$core_ip" 5060 "$core_proxy_ip:5060" -sf "$lab_dir/scenarios/uac-reinvite.xml" \
            -s 7000 -m 2 -r 5 -key hangup "$hangup"
        await_callers "$hangup" "$started" 2
    done
    stop_called_party 4
    stop_captures
    # The parties' packets of the last moment are under way at the BYE.
    verify_captures --calls 4 --lost 4
    phone_packets=$(figure captures.figures rtp_outward_relayed rtp_inward_relayed)
    # The proxies are on the way of everything: what Moorline sends past them is media.
    require "SIP messages past the proxy" "$(packets carrier "port 5060 and host $carrier_ip")" -eq 0
    require "SIP messages past the proxy" "$(packets core "port 5060 and host $core_ip")" -eq 0
    for side in core carrier; do
        require "SIP messages over $transport in $side" "$(packets "$side" "$transport port 5060")" -gt 20
        require "SIP messages in $side" "$(packets "$side" "port 5060")" -eq "$(packets "$side" "$transport port 5060")"
    done
    end_phone_test "${@:2}"
}

# start_accounting: FreeRADIUS beside Moorline, which writes accounts into accounting/detail.
start_accounting() {
    needs freeradius freeradius
    mkdir -p accounting
    sed "s|DIRECTORY|$PWD/accounting|" "$lab_dir/peers/accounting.conf" >accounting/radiusd.conf
    start accounting sbc freeradius -f -l stdout -n radiusd -d "$PWD/accounting"
    accounting_pid=$started
    await "FreeRADIUS" listens sbc 127.0.0.1:1813
}

# Where PostgreSQL keeps its data, and its socket.
postgres=/run/lab-postgres

# make_postgres: a database of its own, with the user moorline.
make_postgres() {
    postgres_programs=$(printf '%s\n' /usr/lib/postgresql/*/bin | tail -n 1)
    needs "$postgres_programs/initdb" postgresql
    install -d -m 0700 -o nobody "$postgres"
    # It refuses root.
    (cd / && as_nobody "$postgres_programs/initdb" -A trust -U moorline --no-sync -D "$postgres") >initdb.log 2>&1
}

start_postgres() {
    start postgres sbc setpriv --reuid nobody --regid nogroup --clear-groups env -C / "$postgres_programs/postgres" -D "$postgres" \
        -c listen_addresses= -c fsync=off -c "unix_socket_directories=$postgres"
    postgres_pid=$started
}

# query SQL: one value.
query() {
    (cd / && as_nobody "$postgres_programs/psql" -U moorline -d postgres -h "$postgres" -Atc "$1")
}

as_nobody() {
    setpriv --reuid nobody --regid nogroup --clear-groups "$@"
}
