# SPDX-License-Identifier: AGPL-3.0-or-later
"""GStreamer's RTSP server, with pictures that say their own number: a camera that none of our code has made.

Run by the system's Python, which has GStreamer's bindings and none of ours:
/usr/bin/python3 gst_server.py CODEC WIDTH HEIGHT FPS [USER PASSWORD] prints its address once it can be watched.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

# Without slices: the payloader repeats the parameter sets before each, which no decoder takes for one picture.
CODING = "tune=zerolatency speed-preset=ultrafast key-int-max={fps} bitrate=1500"
ENCODERS = {
    "h264": f"x264enc sliced-threads=false {CODING} ! rtph264pay",
    "h265": f"x265enc {CODING} ! rtph265pay",
}


def main() -> None:
    codec, width, height, fps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory.new()
    picture = f"video/x-raw,format=I420,width={width},height={height},framerate={fps}/1,colorimetry=bt709"
    coded = f"{ENCODERS[codec].format(fps=fps)} name=pay0 pt=96 config-interval=-1"
    factory.set_launch(f"( videotestsrc is-live=true pattern=smpte ! {picture} ! {coded} )")
    factory.set_shared(True)
    if len(sys.argv) > 5:
        guard(server, factory, sys.argv[5], sys.argv[6])
    server.get_mount_points().add_factory("/hall", factory)
    server.attach(None)
    print(f"rtsp://127.0.0.1:{server.get_bound_port()}/hall", flush=True)
    GLib.MainLoop().run()


def guard(server, factory, user, password) -> None:
    """Only this user may watch, by Digest."""
    auth = GstRtspServer.RTSPAuth.new()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken.new()
    token.set_string("media.factory.role", "viewer")
    auth.add_digest(user, password, token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions.new()
    permissions.add_permission_for_role("viewer", "media.factory.access", True)
    permissions.add_permission_for_role("viewer", "media.factory.construct", True)
    factory.set_permissions(permissions)


main()
