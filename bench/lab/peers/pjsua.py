#!/usr/bin/env python3
"""A phone made of pjsua2 without audio hardware: places one call, or answers one, plays a file into it, and prints
what it saw as key=value lines. Ends with status 0 if the call was answered and ended as it should."""

import argparse
import sys
import time

import pjsua2 as pj

# A phone that waits for longer waits for nothing.
PATIENCE_S = 30


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ip", required=True, help="where SIP and RTP are sent from")
    parser.add_argument("--port", type=int, default=5080, help="the port for SIP; media comes 1000 and more above")
    parser.add_argument("--transport", choices=["udp", "tcp", "tls"], default="udp")
    parser.add_argument("--user", default="phone")
    parser.add_argument("--password", help="for digest authentication")
    parser.add_argument("--registrar", help="the URI to register at before anything else")
    parser.add_argument("--certificate", default="", help="for TLS: this phone's")
    parser.add_argument("--key", default="")
    parser.add_argument("--ca", default="", help="for TLS: who must have signed the other side's certificate")
    parser.add_argument("--play", help="a WAV file")
    parser.add_argument("--call", metavar="URI", help="place a call instead of answering one")
    parser.add_argument("--seconds", type=float, default=3, help="after which a call that was placed is ended")
    parser.add_argument("--x-call", metavar="VALUE", default="pjsua", help="the call's X-Call header")
    parser.add_argument("--hold", action="store_true", help="put a placed call on hold after a second, for a second")
    parser.add_argument("--transfer", metavar="URI", help="send the called party there after a second")
    parser.add_argument("--attended", metavar="URI", help="call there too after a second, and join both called parties")
    parser.add_argument("--hang-up", type=float, metavar="SECONDS", help="end an answered call after this time")
    parser.add_argument("--ring", action="store_true", help="ring and do not answer: the caller is to give up")
    parser.add_argument("--extensions", action="store_true", help="insist on 100rel and on session timers")
    return parser.parse_args()


class Call(pj.Call):
    """The call; what of it is to be known later is copied, for the call itself goes with its end."""

    def __init__(self, account, phone, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(account, call_id)
        self.account = account
        self.phone = phone

    def onCallState(self, prm):
        state = self.getInfo()
        if state.state == pj.PJSIP_INV_STATE_CONFIRMED:
            self.phone.confirmed_at = time.monotonic()
        elif state.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.phone.last_status = state.lastStatusCode
            self.phone.ended |= self is (self.phone.next_call or self.phone.call)

    def onCallTransferRequest(self, prm):
        self.phone.next_call = prm.newCall = Call(self.account, self.phone)
        self.phone.confirmed_at = None

    def onCallReplaced(self, prm):
        self.phone.next_call = prm.newCall = Call(self.account, self.phone, prm.newCallId)

    def onCallTransferStatus(self, prm):
        print(f"transfer: {prm.statusCode} {prm.reason}", flush=True)
        self.phone.transfer_status = prm.statusCode

    def onCallMediaState(self, prm):
        # Named, for what it holds goes with it.
        info = self.getInfo()
        for index, media in enumerate(info.media):
            self.phone.held = media.status in (pj.PJSUA_CALL_MEDIA_LOCAL_HOLD, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD)
            self.phone.was_held |= self.phone.held
            if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                if self.phone.player:
                    self.phone.player.startTransmit(self.getAudioMedia(index))

    def onStreamDestroyed(self, prm):
        rtcp = self.getStreamStat(prm.streamIdx).rtcp
        self.phone.rtp_sent += rtcp.txStat.pkt
        self.phone.rtp_received += rtcp.rxStat.pkt


class Account(pj.Account):
    def __init__(self, phone):
        super().__init__()
        self.phone = phone

    def onRegState(self, prm):
        if prm.code != 200:
            print(f"registration refused: {prm.code} {prm.reason}", file=sys.stderr)
        self.phone.registered = prm.code == 200

    def onInstantMessage(self, prm):
        print(f"message: {prm.msgBody}", flush=True)

    def onIncomingCall(self, prm):
        call = Call(self, self.phone, prm.callId)
        answer = pj.CallOpParam(True)
        if self.phone.call is None:
            answer.statusCode = 180
            call.answer(answer)
        if self.phone.rings_only:
            self.phone.call = call
            return
        answer.statusCode = 200 if self.phone.call is None else 486
        self.phone.call = self.phone.call or call
        call.answer(answer)


class Phone:
    def __init__(self, rings_only):
        self.rings_only = rings_only
        self.call = None
        # The one that it was sent into.
        self.next_call = None
        self.transfer_status = 0
        # Whom it has asked before a transfer.
        self.consulted = None
        self.player = None
        self.registered = False
        self.confirmed_at = None
        self.held = False
        self.was_held = False
        self.ended = False
        self.last_status = 0
        self.rtp_sent = 0
        self.rtp_received = 0


def start(options, phone):
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    # Everything on this thread: callbacks of other threads would fight over Python's lock.
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.logConfig.level = 4
    config.logConfig.consoleLevel = 4
    config.medConfig.noVad = True
    config.medConfig.threadCnt = 1
    endpoint.libInit(config)

    transport = pj.TransportConfig()
    transport.boundAddress = options.ip
    transport.port = options.port
    kind = {
        "udp": pj.PJSIP_TRANSPORT_UDP,
        "tcp": pj.PJSIP_TRANSPORT_TCP,
        "tls": pj.PJSIP_TRANSPORT_TLS,
    }[options.transport]
    if options.transport == "tls":
        transport.tlsConfig.certFile = options.certificate
        transport.tlsConfig.privKeyFile = options.key
        transport.tlsConfig.CaListFile = options.ca
        transport.tlsConfig.verifyServer = bool(options.ca)
    endpoint.transportCreate(kind, transport)
    endpoint.libStart()
    endpoint.audDevManager().setNullDev()
    for codec in endpoint.codecEnum2():
        endpoint.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith("PCMA/") else 0)

    if options.play:
        phone.player = pj.AudioMediaPlayer()
        phone.player.createPlayer(options.play)

    account_config = pj.AccountConfig()
    host = options.registrar.split(":")[1].split(";")[0] if options.registrar else f"{options.ip}:{options.port}"
    suffix = f";transport={options.transport}" if options.transport != "udp" else ""
    account_config.idUri = f"sip:{options.user}@{host}{'' if options.registrar else suffix}"
    account_config.mediaConfig.transportConfig.boundAddress = options.ip
    account_config.mediaConfig.transportConfig.port = options.port + 1000
    # What Moorline is told of the phone is what the phone says, as behind no NAT.
    account_config.natConfig.contactRewriteUse = 0
    account_config.natConfig.viaRewriteUse = 0
    if options.password:
        credentials = pj.AuthCredInfo("digest", "*", options.user, 0, options.password)
        account_config.sipConfig.authCreds.append(credentials)
    if options.registrar:
        account_config.regConfig.registrarUri = options.registrar
        account_config.regConfig.timeoutSec = 60
        account_config.sipConfig.proxies.append(options.registrar + ";lr")
    if options.extensions:
        account_config.callConfig.prackUse = pj.PJSUA_100REL_MANDATORY
        account_config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
        account_config.callConfig.timerSessExpiresSec = 120
    account = Account(phone)
    account.create(account_config)
    return endpoint, account


def until(endpoint, condition):
    """Handles events until the condition holds; False if it does not in time."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            return False
        endpoint.libHandleEvents(20)
    return True


def main():
    options = arguments()
    phone = Phone(options.ring)
    endpoint, account = start(options, phone)
    good = True
    if options.registrar:
        good = until(endpoint, lambda: phone.registered)
    # What the lab waits for.
    print("phone is ready", flush=True)
    if options.call and good:
        call_options = pj.CallOpParam(True)
        header = pj.SipHeader()
        header.hName, header.hValue = "X-Call", options.x_call
        call_options.txOption.headers.append(header)
        phone.call = Call(account, phone)
        phone.call.makeCall(options.call, call_options)
        if until(endpoint, lambda: phone.confirmed_at or phone.ended) and phone.confirmed_at:
            if options.hold:
                until(endpoint, lambda: phone.ended or time.monotonic() >= phone.confirmed_at + 1)
                phone.call.setHold(pj.CallOpParam())
                good = until(endpoint, lambda: phone.ended or phone.held) and good
                until(endpoint, lambda: phone.ended or time.monotonic() >= phone.confirmed_at + 2)
                resumption = pj.CallOpParam(True)
                resumption.opt.flag = pj.PJSUA_CALL_UNHOLD
                phone.call.reinvite(resumption)
                good = until(endpoint, lambda: phone.ended or not phone.held) and good
            if options.transfer:
                until(endpoint, lambda: phone.ended or time.monotonic() >= phone.confirmed_at + 1)
                phone.call.xfer(options.transfer, pj.CallOpParam(True))
                good = until(endpoint, lambda: phone.ended or phone.transfer_status >= 200) and good
            if options.attended:
                until(endpoint, lambda: phone.ended or time.monotonic() >= phone.confirmed_at + 1)
                phone.call.setHold(pj.CallOpParam())
                good = until(endpoint, lambda: phone.ended or phone.held) and good
                phone.confirmed_at = None
                phone.consulted = Call(account, phone)
                phone.consulted.makeCall(options.attended, call_options)
                good = until(endpoint, lambda: phone.ended or phone.confirmed_at) and good
                until(endpoint, lambda: phone.ended or time.monotonic() >= phone.confirmed_at + 1)
                phone.call.xferReplaces(phone.consulted, pj.CallOpParam(True))
                good = until(endpoint, lambda: phone.ended or phone.transfer_status >= 200) and good
            until(endpoint, lambda: phone.ended or time.monotonic() >= phone.confirmed_at + options.seconds)
            if not phone.ended:
                phone.call.hangup(pj.CallOpParam())
    elif good:
        # Who was sent elsewhere ends the call there.
        until(endpoint, lambda: phone.ended or (phone.confirmed_at and (phone.next_call or options.hang_up)))
        if phone.confirmed_at and not phone.ended:
            talk = options.seconds if phone.next_call else options.hang_up
            until(endpoint, lambda: phone.ended or time.monotonic() >= phone.confirmed_at + talk)
            if not phone.ended:
                (phone.next_call or phone.call).hangup(pj.CallOpParam())
    good = until(endpoint, lambda: phone.ended) and (phone.confirmed_at is None) == options.ring and good
    print(f"confirmed={int(phone.confirmed_at is not None)}")
    print(f"last_status={phone.last_status}")
    print(f"transfer_status={phone.transfer_status}")
    print(f"was_held={int(phone.was_held)}")
    print(f"rtp_sent={phone.rtp_sent}")
    print(f"rtp_received={phone.rtp_received}", flush=True)
    # Its objects go before the library that they belong to.
    phone.call = phone.next_call = phone.consulted = phone.player = None
    del account
    endpoint.libDestroy()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
