"""An application of the published package 3.3.8 or 2.2.0, driven over standard input and output, one JSON object a line.

The requests and events are those of `shell/sdk/examples/peer.rs`, so that a test can put either in either place.
Runs with the Python of an environment that holds one of the two packages, whose interfaces are equal as far as it is
used here, and nothing of ours.

`PEER_CONFIG` names a configuration file of the package. Its service then has the application and the connections, and
its listeners run from the start; without it the global service has them.
"""

import asyncio
import datetime
import json

import json_lines
import slim_bindings as slim
from package_1x_to_3x import PackagePeer, name_of, start, text_of


class CurrentPeer(PackagePeer):
    async def op_app(
        self, name: str, secret: str | None = None, jwt: dict | None = None, spire: dict | None = None
    ) -> str:
        if jwt is None and spire is None:
            return await super().op_app(name, secret)
        identity = jwt_identity(jwt) if spire is None else spire_identity(spire)
        self.app = self.service.create_app(name_of(name), *identity)
        self.spawn(self.accept())
        return text_of(self.app.name())

    async def op_connect(self, endpoint: str, settings: dict | None = None, configured: bool = False) -> None:
        if configured:
            # The configuration file asked for it; there is no event for its success.
            while (connection := self.service.get_connection_id(endpoint)) is None:
                await asyncio.sleep(0.05)
            self.connection = connection
        elif settings is None:
            return await super().op_connect(endpoint)
        else:
            config = slim.new_config_from_json(json.dumps({"endpoint": endpoint, **settings}))
            self.connection = await self.service.connect_async(config)
        await self.app.subscribe_async(self.app.name(), self.connection)

    def encryption(self, mls: bool) -> dict:
        settings = slim.MlsSettings(header_integrity_validation_percent=100, max_seen_control_message_ids_size=None)
        return {"mls_settings": settings if mls else None}

    def is_encrypted(self, config: slim.SessionConfig) -> bool:
        return config.mls_settings is not None

    async def op_members(self, session: int) -> dict:
        participants = await self.sessions[session].participants_list_async()
        members = [
            {"name": text_of(member.name), "online": member.status == slim.ParticipantStatus.ONLINE}
            for member in participants
        ]
        return {"members": members}

    async def op_go_offline(self, session: int) -> None:
        await self.sessions[session].close_with_mode_and_wait_async(slim.CloseMode.SOFT)

    async def op_go_online(self, session: int) -> None:
        await self.sessions[session].rejoin_and_wait_async()


def jwt_identity(jwt: dict) -> tuple[slim.IdentityProviderConfig, slim.IdentityVerifierConfig]:
    """What an application signs with, and the keys by which it knows the others."""

    def key(kind, form: slim.JwtKeyFormat, text: str):
        algorithm = getattr(slim.JwtAlgorithm, jwt["algorithm"])
        return kind(slim.JwtKeyConfig(algorithm=algorithm, format=form, key=slim.JwtKeyData.DATA(value=text)))

    common = {
        "audience": jwt["audiences"] or None,
        "issuer": jwt["issuer"],
        "duration": datetime.timedelta(hours=1),
    }
    signing = key(slim.JwtKeyType.ENCODING, slim.JwtKeyFormat.PEM, jwt["private_key"])
    checking = key(slim.JwtKeyType.DECODING, slim.JwtKeyFormat.JWKS, jwt["keys"])
    provider = slim.ClientJwtAuth(key=signing, subject=jwt["subject"], **common)
    verifier = slim.JwtAuth(key=checking, subject=None, **common)
    return slim.IdentityProviderConfig.JWT(config=provider), slim.IdentityVerifierConfig.JWT(config=verifier)


def spire_identity(spire: dict) -> tuple[slim.IdentityProviderConfig, slim.IdentityVerifierConfig]:
    """Who an application is by the agent at a socket, and whom it believes."""
    config = slim.SpireConfig(
        socket_path=spire["socket_path"],
        target_spiffe_id=spire["target_spiffe_id"],
        jwt_audiences=spire["audiences"],
        trust_domains=spire["trust_domains"],
    )
    return slim.IdentityProviderConfig.SPIRE(config=config), slim.IdentityVerifierConfig.SPIRE(config=config)


start()
json_lines.run(CurrentPeer)
