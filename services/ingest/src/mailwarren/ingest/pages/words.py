"""What the pages say, in each language."""

from collections.abc import Mapping
from types import MappingProxyType

DEFAULT = "en"

WORDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "en": {
            "name": "English",
            "title": "Email preferences",
            "for": "Mail to",
            "choose": "Choose what you would like to receive.",
            "topics": "Topics",
            "save": "Save",
            "leave": "Unsubscribe",
            "leave_all": "Unsubscribe from everything",
            "leave_all_note": "Messages about your account, such as receipts and passwords, still reach you.",
            "left_all": "You are unsubscribed from all lists.",
            "come_back": "Subscribe again",
            "no_topics": "You are on our list.",
            "done_left": "You are unsubscribed.",
            "done_left_topic": "You are unsubscribed from this topic.",
            "done_saved": "Your choice is saved.",
            "done_back": "Welcome back. You are subscribed again.",
            "bad_title": "This link does not work",
            "bad": "It may be cut off. Open it from the email again, or write to the sender.",
            "away_title": "Not right now",
            "away": "Your choice could not be saved. Please try again in a minute.",
            "odd_title": "Nothing was changed",
            "odd": "Open the link from the email again and choose there.",
            "this": "this email",
        },
        "vi": {
            "name": "Tiếng Việt",
            "title": "Tùy chọn nhận thư",
            "for": "Thư gửi đến",
            "choose": "Hãy chọn những nội dung bạn muốn nhận.",
            "topics": "Chủ đề",
            "save": "Lưu",
            "leave": "Hủy đăng ký",
            "leave_all": "Hủy đăng ký tất cả",
            "leave_all_note": "Bạn vẫn nhận được thư về tài khoản của mình, như hóa đơn và mật khẩu.",
            "left_all": "Bạn đã hủy đăng ký khỏi mọi danh sách.",
            "come_back": "Đăng ký lại",
            "no_topics": "Bạn đang có trong danh sách nhận thư.",
            "done_left": "Bạn đã hủy đăng ký.",
            "done_left_topic": "Bạn đã hủy đăng ký chủ đề này.",
            "done_saved": "Lựa chọn của bạn đã được lưu.",
            "done_back": "Chào mừng bạn trở lại. Bạn đã đăng ký lại.",
            "bad_title": "Liên kết này không dùng được",
            "bad": "Có thể liên kết bị cắt bớt. Hãy mở lại từ thư, hoặc viết cho người gửi.",
            "away_title": "Tạm thời chưa được",
            "away": "Chưa lưu được lựa chọn của bạn. Vui lòng thử lại sau một phút.",
            "odd_title": "Không có gì thay đổi",
            "odd": "Hãy mở lại liên kết từ thư và chọn tại đó.",
            "this": "thư này",
        },
    }
)


def language_of(accepted: str, asked: str | None = None) -> str:
    """The language to speak.

    Args:
        accepted: the ``Accept-Language`` header (RFC 9110 §12.5.4), or empty.
        asked: what the reader chose on the page.
    """
    if asked in WORDS:
        return str(asked)
    best, weight = DEFAULT, 0.0
    for part in accepted[:1000].split(","):
        tag, _, parameter = part.strip().partition(";")
        found = tag.strip().lower().partition("-")[0]
        given = _weight(parameter)
        if found in WORDS and given > weight:
            best, weight = found, given
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
