"""The probe of the gate: 64 pairs, Chinese and English, written for this project.

Each query has four documents: the answer, a trap that shares its words but answers nothing, a text on a related matter,
and one on something else.
"""

_PROBE = {
    "手机进水了怎么办?": (
        "手机进水后应立即关机,擦干外壳,取出卡托,放在通风处自然晾干,不要马上充电。",
        "手机壳进货价格怎么谈?批发市场的水很深,要多问几家。",
        "新款手机支持六级防水,可以在一米深的水中停留半小时。",
        "秋天的银杏叶由绿转黄,公园里游人不断。",
    ),
    "如何办理护照换发?": (
        "护照到期前可携带身份证、旧护照和照片,到出入境管理机构申请换发,一般七个工作日办结。",
        "护照夹换季打折,皮质款办理会员卡再减十元。",
        "办理签证需要提供护照、照片、行程单和存款证明。",
        "水在标准大气压下加热到一百摄氏度时沸腾。",
    ),
    "孩子发烧到39度要不要去医院?": (
        "三个月以下的婴儿发热应立即就医;大一些的孩子精神好可先用退烧药并多喝水,持续三天不退要去医院。",
        "医院门口的发糕店很受孩子欢迎,39元可以买三斤。",
        "儿童接种疫苗后可能出现低热,多在一两天内自行消退。",
        "这台打印机支持双面打印,每分钟三十页。",
    ),
    "为什么天空是蓝色的?": (
        "阳光穿过大气时,波长较短的蓝光被空气分子散射得最多,所以我们看到天空呈蓝色。",
        "蓝天幼儿园的天空教室为什么总是排队?因为名额有限。",
        "日落时光线穿过的大气更厚,蓝光被散射掉,天边便显出红色。",
        "合同双方应在签字之日起十日内支付定金。",
    ),
    "公司没签劳动合同可以要求赔偿吗?": (
        "用人单位超过一个月不满一年未订立书面劳动合同的,应当向劳动者每月支付二倍的工资。",
        "公司签下了一份关于劳动节促销的合同,赔偿条款写在附件里。",
        "劳动者提前三十日书面通知用人单位,可以解除劳动合同。",
        "把鸡蛋打散,加少许盐,油热后下锅快速翻炒。",
    ),
    "Python里怎么读取大文件而不占满内存?": (
        "用 with open(path) as f 逐行迭代文件对象,每次只在内存里保留一行;二进制文件可以分块读取。",
        "内存条和大文件柜限时特价,读者凭 Python 课程证书可再减。",
        "列表推导式会一次生成所有元素,生成器表达式则按需产生。",
        "蜂鸟可以悬停在空中,翅膀每秒扇动数十次。",
    ),
    "怎样降低房间的湿度?": (
        "可以使用除湿机或空调的除湿模式,晴天开窗通风,在柜子里放干燥剂。",
        "房间的湿地主题壁纸怎样贴才不会降低美观?",
        "空气湿度过低时,加湿器能缓解皮肤和喉咙的干燥。",
        "国际象棋的车可以沿横线或竖线走任意格。",
    ),
    "三峡大坝在哪个城市?": (
        "三峡大坝位于湖北省宜昌市夷陵区三斗坪镇。",
        "三峡牌风扇在哪个城市的商场都能买到,大坝路店最便宜。",
        "葛洲坝是长江干流上修建的第一座大型水电站。",
        "牙医建议每半年洗一次牙。",
    ),
    "how do I remove a red wine stain from a carpet?": (
        "Blot the spill with a dry cloth, then dab with cold water and a little dish soap; never rub the fibres.",
        "The red carpet was removed after the gala, where a wine made without a stain on its reputation was served.",
        "Regular vacuuming keeps carpet fibres upright and makes them last longer.",
        "The committee meets on the second Tuesday of each month.",
    ),
    "what causes the northern lights?": (
        "Charged particles from the sun are guided by Earth's magnetic field and make gases of the upper air glow.",
        "Northern Lights Furniture explains what causes its prices: fair wages and local timber.",
        "The best months to see an aurora in Norway are September to March.",
        "To reset the router, hold the button for ten seconds.",
    ),
    "can I withdraw from my pension early?": (
        "Most plans let you draw your pension before retirement age, but the payment is taxed and penalised.",
        "The pensione in Rome lets early guests withdraw to the garden until their rooms are ready.",
        "Employers must enrol eligible staff into a workplace pension.",
        "A violin has four strings tuned in perfect fifths.",
    ),
    "difference between TCP and UDP": (
        "TCP sets up a connection and resends what is lost, in order; UDP sends datagrams, faster, with no guarantee.",
        "UDP and TCP are also the initials of two football clubs; the difference in points is now three.",
        "An IP address identifies an interface of a host on a network.",
        "Knead the dough for ten minutes and let it rise until doubled.",
    ),
    "is it safe to take ibuprofen while pregnant?": (
        "Ibuprofen is not recommended in pregnancy, above all after 20 weeks; ask a doctor about paracetamol.",
        "The safe was pregnant with meaning, the critic wrote: take it or leave it.",
        "Ibuprofen relieves pain and inflammation and should be taken with food.",
        "Glaciers form where more snow falls than melts.",
    ),
    "how tall is Mount Kilimanjaro?": (
        "Kilimanjaro rises to 5,895 metres above sea level and is the highest mountain of Africa.",
        "Tall coffee cups at the Mount Kilimanjaro Cafe hold a third of a litre.",
        "Climbers on Kilimanjaro usually take six to eight days for the ascent.",
        "The invoice is due within thirty days of receipt.",
    ),
    "why does my bread not rise?": (
        "Bread fails to rise when the yeast is dead, the water too hot, or time and warmth too short.",
        "Bread prices did not rise this quarter, and analysts ask why their forecasts failed.",
        "Sourdough gets its flavour from lactic acid bacteria.",
        "The museum's east wing is closed for renovation.",
    ),
    "who wrote the opera The Magic Flute?": (
        "The Magic Flute was composed by Wolfgang Amadeus Mozart, to a libretto by Emanuel Schikaneder, in 1791.",
        "She wrote a magic trick about a flute for the opera house's family day.",
        "Beethoven completed only one opera, Fidelio.",
        "Solar panels lose some efficiency as they heat up.",
    ),
}
PAIRS = [(query, document) for query, documents in _PROBE.items() for document in documents]
